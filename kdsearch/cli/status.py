"""`kdsearch status`: how far a study is."""

import click

from kdsearch.cli.options import storage


@click.command()
@click.argument("study", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@storage
def status(study: str | None, as_json: bool, storage: str) -> None:
    """Show how far STUDY is.

    Without STUDY the command takes the only study, or the one that ran last.

    \b
    kdsearch status
    kdsearch status digits --json
    """
    from kdsearch import api
    from kdsearch.cli.display import show_status

    standing = api.status(study, storage=storage)
    if as_json:
        click.echo(standing.model_dump_json())
    else:
        show_status(standing)
