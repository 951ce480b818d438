"""The terminal's output about teachers and views."""

from typing import TYPE_CHECKING

from rich.table import Table

from kdsearch.cli.output import cell, console, print_lines

if TYPE_CHECKING:
    from kdsearch.api import TeacherReport, Teachers, ViewsReport


def show_reports(reports: "list[TeacherReport]") -> None:
    """Prints for each teacher its accuracy, its file, and the lines for the study file."""
    out = console()
    for report in reports:
        accuracy = f"{100 * report.accuracy:.2f} % on {report.images:,} validation images"
        size = f"{report.parameters:,} parameters"
        lines = [f"teacher {report.name}: {accuracy}, {size} ({report.origin})"]
        if report.path and not report.lines:
            lines.append(f"  {report.path}")
        if report.lines:
            lines += [f"Written to {report.path}. In the study file:", "", *report.lines.split("\n")]
        print_lines(out, *lines)


def show_teachers(teachers: "Teachers") -> None:
    """Prints torchvision's networks and the teachers in the cache."""
    out = console()
    table = Table("model", "parameters", title="Networks of torchvision, for 1,000 classes")
    table.columns[1].justify = "right"
    for offered in teachers.offered:
        table.add_row(cell(offered.name), f"{offered.parameters:,}")
    out.print(table)
    if not teachers.cached:
        print_lines(out, "No teacher in the cache yet; 'kdsearch teacher train STUDY' trains one.")
        return
    print_lines(out, "In the cache, newest first:")
    for cached in teachers.cached:
        facts = f"{cached.name}: {100 * cached.accuracy:.2f} %, {cached.parameters:,} parameters"
        print_lines(out, f"  {facts} ({cached.origin}), {cached.folder}")


def show_views(report: "ViewsReport") -> None:
    """Prints how many views exist, where, and the result of the comparison."""
    count = f"{len(report.made)} of {report.count} views, {report.size / 2**20:,.0f} MiB"
    lines = [f"Study {report.study}: {count}, in {report.folder}"]
    if report.checked is not None:
        compared = f"pixels equal, logits within {report.gap:.1e} of the largest"
        lines.append(f"Some rows of view {report.checked} were made again: {compared}.")
    print_lines(console(), *lines)
