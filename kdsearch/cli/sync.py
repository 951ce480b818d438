"""`kdsearch sync`: MLflow as the record says."""

import click

from kdsearch.cli.options import storage, tracking_uri
from kdsearch.names import visible


@click.command()
@click.argument("study", required=False)
@click.option("--follow", is_flag=True, help="Go on until interrupted.")
@storage
@tracking_uri
def sync(study: str | None, follow: bool, storage: str, tracking_uri: str | None) -> None:
    """Make MLflow equal to the study's record; left out: the only study, or the one that ran last.

    `kdsearch run` does this by itself; this is for studies that only workers run, and after MLflow was away.
    """
    from kdsearch import api
    from kdsearch.cli.display import watching

    with watching(quiet=False) as watch:
        name = api.sync(study, storage=storage, tracking_uri=tracking_uri, follow=follow, progress=watch)
    click.echo(f"MLflow has study {visible(name)}")
