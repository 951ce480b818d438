"""`kdsearch views`: list and check the augmented copies of the training set that all trials share."""

import click

from kdsearch.cli.options import quiet, storage


@click.command()
@click.argument("study", required=False)
@click.option(
    "--data", metavar="PATH", help="Folder with the images, if it moved since the study was created."
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="Device that made the views: auto, cpu, cuda, cuda:0, ...",
)
@storage
@quiet
def views(study: str | None, *, data: str | None, device: str, storage: str, quiet: bool) -> None:
    """List and check the views of STUDY on this machine.

    Views are augmented copies of the training set that all trials share. The command compares all views with
    their checksums, makes some rows of one view again and compares them. Without STUDY it takes the only
    study, or the one that ran last.

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
