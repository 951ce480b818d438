"""`kdsearch show`: a network layer by layer."""

import click

from kdsearch.cli.options import storage


@click.command()
@click.argument("what", metavar="TRIAL|NETWORK")
@click.argument("study", required=False)
@click.option(
    "--classes", type=click.IntRange(2), default=11, show_default=True, help="Of a published network."
)
@click.option(
    "--image-size",
    type=click.IntRange(1, 1024),
    default=128,
    show_default=True,
    help="That it is shown, in pixels.",
)
@storage
def show(what: str, study: str | None, *, classes: int, image_size: int, storage: str) -> None:
    """Print a network layer by layer: shapes, parameters, multiply-adds, memory.

    NETWORK is a published one's name; TRIAL is a number in STUDY, left out: the only study, or the one that
    ran last. A trial's classes and image size are the study's.

    \b
    kdsearch show 12
    kdsearch show s4 --classes 10 --image-size 28
    """
    from kdsearch import api
    from kdsearch.cli.display_network import show_network

    show_network(api.show(what, study, storage=storage, classes=classes, image_size=image_size))
