"""What a student says of each class: the table of the card, and the picture of the confusion matrix."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import ConfusionMatrixDisplay

from kdsearch.names import escaped, visible

MATRIX = "confusion.png"
READABLE = 30  # classes up to which each cell has its number
MISTAKES = 5  # that the card names

Matrix = Sequence[Sequence[int]]  # images, a row for each true class, a column for each predicted one


def class_section(matrix: Matrix, classes: Sequence[str], images: str) -> str:
    """Markdown: each class's accuracy on the images so called, and the most frequent mistakes."""
    counts = np.array(matrix)
    rows = "".join(
        f"| {escaped(name)} | {row.sum():,} | {_share(row[index], row.sum())} | "
        f"{_share(row[index], counts[:, index].sum())} |\n"
        for index, (name, row) in enumerate(zip(classes, counts, strict=True))
    )
    return (
        f"## Classes\n\nOf the {images} images. Recall: how many of a class's images are called so. "
        "Precision: how many of those that are called so belong to the class.\n\n"
        f"| class | images | recall | precision |\n|---|---:|---:|---:|\n{rows}\n"
        f"{_mistakes(counts, classes)}![Confusion matrix]({MATRIX})\n"
    )


def _mistakes(counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    wrong = counts - np.diag(np.diag(counts))
    worst = [int(cell) for cell in np.argsort(-wrong, axis=None, kind="stable")[:MISTAKES]]
    pairs = [divmod(cell, len(classes)) for cell in worst if wrong.flat[cell]]
    if not pairs:
        return ""
    named = [escaped(name) for name in classes]
    told = (f"{named[true]} as {named[said]} ({wrong[true, said]:,})" for true, said in pairs)
    return f"The most frequent mistakes: {', '.join(told)}.\n\n"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def draw_confusion(matrix: Matrix, classes: Sequence[str], images: str, path: Path) -> None:
    """Writes the confusion matrix of the images so called as a picture.

    The colours are shares of a true class.
    """
    counts = np.array(matrix)
    side = min(40.0, 3.0 + 0.45 * len(classes))  # inches
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    display = ConfusionMatrixDisplay(counts / np.maximum(1, counts.sum(axis=1, keepdims=True)))
    display.plot(ax=axes, include_values=False, cmap="Blues", colorbar=False, im_kw={"vmin": 0, "vmax": 1})
    names = [visible(name) for name in classes]
    axes.set_xticks(range(len(names)), names, rotation=90, parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set(xlabel="predicted class", ylabel="true class", title=f"{counts.sum():,} {images} images")
    if len(classes) <= READABLE:
        for cell, count in np.ndenumerate(counts):
            shade = count / max(1, counts[cell[0]].sum())
            color = "white" if shade > 0.5 else "black"
            axes.text(cell[1], cell[0], f"{count:,}", ha="center", va="center", color=color, fontsize=8)
    figure.savefig(path, dpi=100, metadata={"Software": None})
