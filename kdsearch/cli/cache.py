"""`kdsearch cache`: list and clear this machine's cache."""

import click

from kdsearch.cli.options import storage


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
    from kdsearch import api
    from kdsearch.cli.display_cache import show_cache, total

    report = api.cache(storage=storage)
    if not clear:
        show_cache(report)
        return
    if not yes and report.unneeded:
        click.confirm(f"Remove {total(report.unneeded)} from {report.folder}?", abort=True)
    click.echo(f"removed {total(api.clear_cache(storage=storage))}")
