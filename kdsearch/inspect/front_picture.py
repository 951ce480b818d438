"""The picture of a front: accuracy over size of all complete trials of a study."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from kdsearch.files import replacing
from kdsearch.inspect.front import Front, FrontRow
from kdsearch.inspect.front_table import CURE
from kdsearch.names import visible

INCHES, DPI = (8, 5), 150
LABELS = {"parameters": "parameters", "macs": "multiply-adds"}
COLOUR = "tab:blue"


def write_picture(front: Front, path: Path) -> None:
    """A PNG of 1200 x 750 pixels. Raises KdsearchError if it cannot be written; then nothing has changed."""
    figure = draw(front)
    with replacing(path, "front", CURE, option="--png") as whole, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name in letters of no font here
        figure.savefig(whole, format="png")


def draw(front: Front) -> Figure:
    """All complete trials, faint; those of the front with their intervals, hollow where they may be noise."""
    figure = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    sizes = [_size(front, row) for row in front.rows]
    axes.scatter(
        sizes, [row.accuracy for row in front.rows], color="grey", alpha=0.3, label="complete trials"
    )
    points = front.points
    reached = [*(_size(front, row) for row in points), max(sizes)]
    best = [*(row.accuracy for row in points), points[-1].accuracy]
    axes.step(reached, best, where="post", color=COLOUR)
    _add_points(axes, front, [row for row in points if not row.noise], COLOUR, "front, 95 % interval")
    _add_points(axes, front, [row for row in points if row.noise], "white", "its gain may be noise")
    axes.set(xlabel=LABELS[front.by], ylabel="validation accuracy")
    axes.set_title(visible(front.study), parse_math=False)
    if max(sizes) > 10 * min(sizes):
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _add_points(axes: Axes, front: Front, rows: Sequence[FrontRow], fill: str, label: str) -> None:
    if rows:
        axes.errorbar(
            [_size(front, row) for row in rows],
            [row.accuracy for row in rows],
            yerr=[[row.accuracy - row.low for row in rows], [row.high - row.accuracy for row in rows]],
            fmt="o",
            color=COLOUR,
            markerfacecolor=fill,
            capsize=3,
            label=label,
        )


def _size(front: Front, row: FrontRow) -> int:
    return row.parameters if front.by == "parameters" else row.macs
