"""A study in MLflow: copy it there, and compare its trials."""

import os
import sys

import click

from kdsearch import api
from kdsearch.cli.display_progress import watching
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
    with watching(quiet=False) as watch:
        name = api.sync(study, storage=storage, tracking_uri=tracking_uri, follow=follow, progress=watch)
    click.echo(f"MLflow has study {visible(name)}")


@click.command()
@click.argument("study", required=False)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port on this machine; if left out: 5000 or a free one."
)
@click.option(
    "--no-browser", "browser", flag_value=False, default=True, help="Print the address and open no browser."
)
@storage
@tracking_uri
def ui(study: str | None, *, port: int | None, browser: bool, storage: str, tracking_uri: str | None) -> None:
    """Compare the trials of STUDY in MLflow.

    Without STUDY the command takes the only study, or the one that ran last. It starts an MLflow server that
    only this machine can reach, until Ctrl-C. If the study's runs are on a tracking server, it opens the page
    there instead.

    \b
    kdsearch ui
    kdsearch ui food11 --port 8080 --no-browser
    """

    def show(address: str) -> None:
        click.echo(address)
        seen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        if browser and seen:
            click.launch(address)

    with watching(quiet=False) as watch:
        api.ui(study, storage=storage, tracking_uri=tracking_uri, port=port, show=show, progress=watch)
