"""`kdsearch status`: where a study stands."""

import click

from kdsearch.cli.options import storage


@click.command()
@click.argument("study", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@storage
def status(study: str | None, as_json: bool, storage: str) -> None:
    """Show where STUDY stands; left out: the only study, or the one that ran last.

    \b
    kdsearch status
    kdsearch status digits --json
    """
    from kdsearch import api
    from kdsearch.cli.display import show_status

    found = api.status(study, storage=storage)
    if as_json:
        click.echo(found.model_dump_json())
    else:
        show_status(found)
