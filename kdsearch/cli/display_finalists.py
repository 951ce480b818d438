"""The terminal's output about finalists."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from kdsearch.cli.display import percent, print_lines, span

if TYPE_CHECKING:
    from kdsearch.api import FinalistRow, FinalistTable


def show_finalists(out: Console, finalists: "FinalistTable") -> None:
    """Prints the finalists, which of them cannot be told apart, and which one wins."""
    epochs = " or ".join(str(each) for each in sorted({row.epochs for row in finalists.rows}))
    title = f"Finalists, trained for {epochs} epochs, on the validation images"
    names = ("trial", "seeds", "mean", "sd", "95 % interval", "behind best", "parameters")
    table = Table(*names, title=title)
    for column in table.columns:
        column.justify = "right"
    for row in finalists.rows:
        table.add_row(
            str(row.trial),
            str(row.seeds),
            percent(row.mean),
            "-" if row.deviation is None else f"{100 * row.deviation:.2f}",
            span(row.interval),
            span(row.behind) if row.behind else "-",
            f"{row.parameters:,}",
        )
    out.print(table)
    print_lines(out, *_verdict(finalists))


def _verdict(finalists: "FinalistTable") -> list[str]:
    equal = [row for row in finalists.rows if row.is_equal]
    lines = []
    if len(equal) > 1:
        lines.append(f"These cannot be told apart from the best: {', '.join(map(_name, equal[1:]))}.")
    if finalists.winner is None:
        return [*lines, "Not all finalists are trained yet: none of them has won."]
    small = finalists.prefer == "small" and len(equal) > 1
    why = "the smallest of these" if small else "the best mean"
    winner = f"The winner is trial {finalists.winner}, {why}"
    return [*lines, f"{winner}; export-best writes its seed with the median accuracy."]


def _name(row: "FinalistRow") -> str:
    return f"trial {row.trial}"
