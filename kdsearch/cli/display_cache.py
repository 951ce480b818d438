"""The terminal's output about this machine's cache, and the views in it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from kdsearch.cache import amount
from kdsearch.cli.display import cell, console, print_lines

if TYPE_CHECKING:
    from kdsearch.api import CachedEntry, CacheReport, ViewsReport


def show_cache(report: "CacheReport") -> None:
    """Prints a row for each entry, by kind; then the size that --clear would remove."""
    table = Table("kind", "entry", "size", "needed by")
    table.columns[2].justify = "right"
    for each in report.entries:
        users = ", ".join(each.studies) or "-"
        used = f"{users} (in use)" if each.held else users
        table.add_row(cell(each.kind), cell(each.path.name), amount(each.size), cell(used))
    lines = [f"{total(report.entries)} in {report.folder}"]
    if report.entries:
        console().print(table)
    if report.unneeded:
        lines.append(f"No study in this database needs {total(report.unneeded)}; --clear removes that.")
    print_lines(console(), *lines)


def total(entries: "Sequence[CachedEntry]") -> str:
    """Their number and size."""
    counted = "1 entry" if len(entries) == 1 else f"{len(entries)} entries"
    return f"{counted}, {amount(sum(each.size for each in entries))}"


def show_views(report: "ViewsReport") -> None:
    count = f"{len(report.made)} of {report.count} views, {report.size / 2**20:,.0f} MiB"
    lines = [f"Study {report.study}: {count}, in {report.folder}"]
    if report.checked is not None:
        compared = f"pixels equal, logits within {report.gap:.1e} of the largest"
        lines.append(f"Some rows of view {report.checked} were made again: {compared}.")
    print_lines(console(), *lines)
