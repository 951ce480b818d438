"""`kdsearch views`: the augmented copies of the training set that all trials share."""

import click

from kdsearch.cli.options import quiet, storage


@click.command()
@click.argument("study", required=False)
@click.option("--data", metavar="PATH", help="Where the images lie, if not where they lay.")
@click.option("--device", default="auto", show_default=True, help="Whose views; cpu, cuda, cuda:0, ...")
@storage
@quiet
def views(study: str | None, *, data: str | None, device: str, storage: str, quiet: bool) -> None:
    """Show the views of STUDY that this machine has, and prove one: some rows are made again and compared.

    STUDY left out: the only study, or the one that ran last.

    \b
    kdsearch views
    kdsearch views food11 --data ~/food11
    """
    from kdsearch import api
    from kdsearch.cli.display import watching
    from kdsearch.cli.display_teachers import show_views

    with watching(quiet) as watch:
        report = api.views(study, storage=storage, data=data, device=device, progress=watch)
    show_views(report)
