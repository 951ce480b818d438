"""`kdsearch cache`: what lies in this machine's cache, and clearing it."""

import click

from kdsearch.cli.options import storage


@click.command()
@click.option("--clear", is_flag=True, help="Remove what no study in the database needs and no run holds.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@storage
def cache(clear: bool, yes: bool, storage: str) -> None:
    """Show the cache of this machine: the size of each entry, and which studies need it.

    Whatever is cleared is made again when a study needs it.

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
