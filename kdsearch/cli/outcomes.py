"""The results of a study: its networks, and the export of the best one."""

from pathlib import Path

import click

from kdsearch import api
from kdsearch.cli.display_network import show_exported, show_network
from kdsearch.cli.display_progress import watching
from kdsearch.cli.options import data, quiet, storage


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
    show_network(api.show(what, study, storage=storage, classes=classes, image_size=image_size))


@click.command()
@click.argument("study", required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write to; if left out: best/STUDY.")
@click.option("--force", is_flag=True, help="Replace the files of an export in that folder.")
@click.option("--no-test", "test", flag_value=False, default=True, help="Do not read the test split.")
@data
@storage
@quiet
def export_best(
    study: str | None,
    *,
    out: Path | None,
    force: bool,
    test: bool,
    data: str | None,
    storage: str,
    quiet: bool,
) -> None:
    """Export the best student: weights, source, ONNX, model card.

    The source is plain PyTorch, and the configuration is JSON. The command loads each form back and compares
    it with the trained student on real images before it puts the files in place. It reads the test split,
    once for each exported trial. Without STUDY it takes the only study, or the one that ran last.

    \b
    kdsearch export-best
    kdsearch export-best digits --out winner --force
    """
    with watching(quiet) as watch:
        exported = api.export_best(
            study, storage=storage, out=out, force=force, test=test, data=data, progress=watch
        )
    show_exported(exported)
