"""What this machine has: the views of a study, and the cache."""

import click

from kdsearch import api
from kdsearch.cli.display_cache import show_cache, show_views, total
from kdsearch.cli.display_progress import watching
from kdsearch.cli.options import data, quiet, storage


@click.command()
@click.argument("study", required=False)
@data
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
    with watching(quiet) as watch:
        report = api.views(study, storage=storage, data=data, device=device, progress=watch)
    show_views(report)


@click.command()
@click.option(
    "--clear", is_flag=True, help="Remove each entry that no study in the database needs and no process uses."
)
@click.option("--yes", is_flag=True, help="Do not ask before removing.")
@storage
def cache(clear: bool, yes: bool, storage: str) -> None:
    """List this machine's cache, and which studies need it.

    If a study needs an entry that was removed, it makes the entry again.

    \b
    kdsearch cache
    kdsearch cache --clear
    """
    report = api.cache(storage=storage)
    if not clear:
        show_cache(report)
        return
    if not yes and report.unneeded:
        click.confirm(f"Remove {total(report.unneeded)} from {report.folder}?", abort=True)
    click.echo(f"removed {total(api.clear_cache(storage=storage))}")
