"""`kdsearch sync`: copy a study from its database to MLflow."""

import click

from kdsearch.cli.options import storage, tracking_uri
from kdsearch.names import visible


@click.command()
@click.argument("study", required=False)
@click.option("--follow", is_flag=True, help="Update MLflow again and again until Ctrl-C or SIGTERM.")
@storage
@tracking_uri
def sync(study: str | None, follow: bool, storage: str, tracking_uri: str | None) -> None:
    """Copy STUDY from its database to MLflow.

    Without STUDY the command takes the only study, or the one that ran last. 'kdsearch run' does this by
    itself. Use this command for a study that only workers run, or when MLflow could not be reached during a
    run.
    """
    from kdsearch import api
    from kdsearch.cli.display import watching

    with watching(quiet=False) as watch:
        name = api.sync(study, storage=storage, tracking_uri=tracking_uri, follow=follow, progress=watch)
    click.echo(f"MLflow has study {visible(name)}")
