"""`kdsearch ui`: compare the trials in MLflow."""

import os
import sys

import click

from kdsearch.cli.options import storage, tracking_uri


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
    from kdsearch import api
    from kdsearch.cli.display import watching

    def show(address: str) -> None:
        click.echo(address)
        seen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        if browser and seen:
            click.launch(address)

    with watching(quiet=False) as watch:
        api.ui(study, storage=storage, tracking_uri=tracking_uri, port=port, show=show, progress=watch)
