"""What the user sees of teachers and their answers."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from kdsearch.api import TeacherReport, Teachers, ViewsReport


def show_reports(reports: "list[TeacherReport]") -> None:
    """A line for each teacher, where it was written, and how a study file names it."""
    out = Console(highlight=False)
    for report in reports:
        accuracy = f"{100 * report.accuracy:.2f} % on {report.images:,} validation images"
        size = f"{report.parameters:,} parameters"
        lines = [f"teacher {report.name}: {accuracy}, {size} ({report.origin})"]
        if report.path and not report.lines:
            lines.append(f"  {report.path}")
        if report.lines:
            lines += [f"Written to {report.path}. In the study file:", "", report.lines]
        for line in lines:
            out.print(line, markup=False, soft_wrap=True)


def show_teachers(teachers: "Teachers") -> None:
    """Two tables: what torchvision has, and what the cache has."""
    out = Console(highlight=False)
    table = Table("model", "parameters", title="Networks of torchvision, for 1,000 classes")
    table.columns[1].justify = "right"
    for offered in teachers.offered:
        table.add_row(offered.name, f"{offered.parameters:,}")
    out.print(table)
    if not teachers.cached:
        out.print("No teacher in the cache yet; 'kdsearch teacher train STUDY' trains one.", markup=False)
        return
    out.print("In the cache, newest first:", markup=False)
    for cached in teachers.cached:
        told = f"{cached.name}: {100 * cached.accuracy:.2f} %, {cached.parameters:,} parameters"
        out.print(f"  {told} ({cached.origin}), {cached.folder}", markup=False, soft_wrap=True)


def show_views(report: "ViewsReport") -> None:
    """How many there are, where, and what was compared."""
    made = f"{len(report.made)} of {report.count} views, {report.size / 2**20:,.0f} MiB"
    lines = [f"Study {report.study}: {made}, in {report.folder}"]
    if report.checked is not None:
        compared = f"pixels equal, logits within {report.gap:.1e} of the largest"
        lines.append(f"Some rows of view {report.checked} were made again: {compared}.")
    for line in lines:
        Console(highlight=False).print(line, markup=False, soft_wrap=True)
