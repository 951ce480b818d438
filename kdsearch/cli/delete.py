"""`kdsearch delete`: remove a study."""

import click

from kdsearch.cli.options import storage, tracking_uri
from kdsearch.names import visible


@click.command()
@click.argument("study")
@click.option("--yes", is_flag=True, help="Do not ask before removing.")
@click.option(
    "--force", is_flag=True, help="Remove the study even if processes work on it; they end with an error."
)
@storage
@tracking_uri
def delete(study: str, yes: bool, force: bool, storage: str, tracking_uri: str | None) -> None:
    """Remove STUDY from its database, and its checkpoints.

    The database loses the study's trials, epochs and weights; in MLflow its runs are marked deleted. The
    cache and exported files stay.
    """
    from kdsearch import api

    finished = api.status(study, storage=storage).finished
    if not yes:
        click.confirm(f"Remove study {study!r} with {finished} finished trials?", abort=True)
    for left in api.delete(study, storage=storage, tracking_uri=tracking_uri, force=force):
        click.echo(visible(left), err=True)
    click.echo(f"removed {visible(study)}")
