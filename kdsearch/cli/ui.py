"""`kdsearch ui`: compare the trials in MLflow."""

import os
import sys

import click

from kdsearch.cli.options import storage, tracking_uri


@click.command()
@click.argument("study", required=False)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port on this machine; 5000 or a free one if left out."
)
@click.option("--no-browser", "browser", flag_value=False, default=True, help="Print the address only.")
@storage
@tracking_uri
def ui(study: str | None, *, port: int | None, browser: bool, storage: str, tracking_uri: str | None) -> None:
    """Open the comparison of STUDY's trials in MLflow; left out: the only study, or the one that ran last.

    Starts MLflow's server on this machine, for this machine, until Ctrl-C. A tracking server that runs
    already is used as it is.

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
