"""`kdsearch show`: a network layer by layer."""

import click

from kdsearch.cli.options import storage


@click.command()
@click.argument("what", metavar="TRIAL|NETWORK")
@click.argument("study", required=False)
@click.option(
    "--classes",
    type=click.IntRange(2),
    default=11,
    show_default=True,
    help="Number of classes for a published network.",
)
@click.option(
    "--image-size",
    type=click.IntRange(1, 1024),
    default=128,
    show_default=True,
    help="Side of the images for a published network, in pixels.",
)
@storage
def show(what: str, study: str | None, *, classes: int, image_size: int, storage: str) -> None:
    """Print a network layer by layer.

    For each layer the command prints shape, parameters and multiply-adds, at the end the memory. NETWORK is
    the name of a published network. TRIAL is the number of a trial in STUDY; without STUDY the only study, or
    the one that ran last. A trial has the classes and the image size of its study.

    \b
    kdsearch show 12
    kdsearch show s4 --classes 10 --image-size 28
    """
    from kdsearch import api
    from kdsearch.cli.display_network import show_network

    show_network(api.show(what, study, storage=storage, classes=classes, image_size=image_size))
