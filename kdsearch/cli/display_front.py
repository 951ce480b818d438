"""The terminal's output about the front of a study."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from kdsearch.cli.display import cell, console, percent, print_lines, span, worth

if TYPE_CHECKING:
    from kdsearch.api import Front

MARK = "~"


def show_front(front: "Front", *written: Path) -> None:
    """Prints the trials of the front, smallest first, and how far the validation images tell them apart.

    At the end stand the files that were `written`.
    """
    table = Table(
        *("trial", "parameters", "multiply-adds", "accuracy", "±", "family", "loss"),
        title=cell(f"The front of study {front.study}"),
    )
    for column in table.columns[:5]:
        column.justify = "right"
    for row in front.points:
        table.add_row(
            str(row.trial),
            f"{row.parameters:,}",
            f"{row.macs:,}",
            f"{MARK} {percent(row.accuracy)}" if row.noise else percent(row.accuracy),
            f"{100 * row.half_width:.1f}",
            cell(row.family),
            cell(row.loss),
        )
    out = console()
    out.print(table)
    print_lines(out, *_told(front), *(f"  {path}" for path in written))


def _told(front: "Front") -> Iterator[str]:
    size = {"parameters": "parameters", "macs": "multiply-adds"}[front.by]
    best = front.points[-1]
    yield (
        f"On the front: {len(front.points)} of {len(front.rows)} complete trials; no other with as many or "
        f"fewer {size} is more accurate."
    )
    yield worth(front.validation_images)
    yield (
        f"The 95 % interval of the best accuracy alone is {span((best.low, best.high))} %; ± is half of such "
        "an interval, in points."
    )
    if any(row.noise for row in front.points):
        yield (
            f"{MARK} may be noise: the 95 % interval of the gain over the next smaller trial without {MARK} "
            "holds 0."
        )
