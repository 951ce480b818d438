"""Predict the classes of images with an export."""

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Literal, TextIO

import click

from kdsearch import api
from kdsearch.cli.display_network import show_predicted
from kdsearch.cli.display_progress import watching
from kdsearch.cli.options import quiet


@click.command()
@click.argument("export", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    metavar="FILE.csv",
    type=click.Path(path_type=Path),
    help="File to write to; - is standard output.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.option(
    "--with",
    "runtime",
    type=click.Choice(["onnx", "int8", "torch"]),
    default="onnx",
    show_default=True,
    help="What runs the student: ONNX Runtime, the same with its form of 8 bits, or PyTorch.",
)
@click.option(
    "--views",
    type=click.Choice(["one", "flip"]),
    default="one",
    show_default=True,
    help="Views of each image; flip: the mean of the probabilities of the image and of its mirror image.",
)
@click.option(
    "--id",
    type=click.Choice(["stem", "number", "path"]),
    default="stem",
    show_default=True,
    help="Id of an image: its file's name without suffix, a number from 0, or its path in IMAGES.",
)
@click.option("--names", is_flag=True, help="Write the classes' names instead of their numbers.")
@click.option(
    "--top",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="K",
    help="Number of classes for each image, the most probable first.",
)
@click.option("--probabilities", is_flag=True, help="Add the probabilities of all classes.")
@quiet
def predict(
    export: Path,
    images: Path,
    *,
    out: Path,
    views: str,
    runtime: Literal["onnx", "int8", "torch"],
    quiet: bool,
    **given: Any,
) -> None:
    """Predict the classes of IMAGES with the export in DIR.

    IMAGES is a folder, which the command searches with all folders below it, or one file. The command writes
    a table with the columns Id and Category, a row for each image, in the natural order of the names: 2.jpg
    before 10.jpg. An image that cannot be read has a row too, which says so, and makes the exit code 1.

    \b
    kdsearch predict best/digits ~/scans --out predictions.csv
    kdsearch predict best/food11 ~/food11/test --out - --id number --views flip
    kdsearch predict best/food11 lunch.jpg --out - --names --top 3 --probabilities
    """
    target: Path | TextIO = out
    if str(out) == "-":
        target = sys.stdout
        assert isinstance(target, TextIOWrapper)
        target.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
    with watching(quiet) as watch:
        predicted = api.predict(
            export, images, target, runtime=runtime, mirrored=views == "flip", progress=watch, **given
        )
    show_predicted(predicted)
    if predicted.unreadable:
        click.get_current_context().exit(1)
