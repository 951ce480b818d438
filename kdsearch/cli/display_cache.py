"""The terminal's output about the cache."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from kdsearch.cache import amount

if TYPE_CHECKING:
    from kdsearch.api import CachedEntry, CacheReport


def show_cache(report: "CacheReport") -> None:
    """Prints a row for each entry, by kind; then the size that --clear would remove."""
    out = Console(highlight=False, markup=False)
    table = Table("kind", "entry", "size", "needed by")
    table.columns[2].justify = "right"
    for each in report.entries:
        users = ", ".join(each.studies) or "-"
        table.add_row(
            each.kind, each.path.name, amount(each.size), f"{users} (in use)" if each.held else users
        )
    lines = [f"{total(report.entries)} in {report.folder}"]
    if report.entries:
        out.print(table)
    if report.unneeded:
        lines.append(f"No study in this database needs {total(report.unneeded)}; --clear removes that.")
    for line in lines:
        out.print(line, soft_wrap=True)


def total(entries: "Sequence[CachedEntry]") -> str:
    """Their number and size."""
    counted = "1 entry" if len(entries) == 1 else f"{len(entries)} entries"
    return f"{counted}, {amount(sum(each.size for each in entries))}"
