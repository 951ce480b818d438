"""The terminal's output about teachers."""

from typing import TYPE_CHECKING

from rich.table import Table

from kdsearch.cli.display import cell, console, percent, print_lines

if TYPE_CHECKING:
    from kdsearch.api import TeacherReport, Teachers


def show_reports(reports: "list[TeacherReport]") -> None:
    """Prints for each teacher its accuracy, its file, and the lines for the study file."""
    out = console()
    for report in reports:
        accuracy = f"{percent(report.accuracy)} on {report.images:,} validation images"
        size = f"{report.parameters:,} parameters"
        lines = [f"teacher {report.name}: {accuracy}, {size} ({report.origin})"]
        if report.path and not report.lines:
            lines.append(f"  {report.path}")
        if report.lines:
            lines += [f"Written to {report.path}. In the study file:", "", *report.lines.split("\n")]
        print_lines(out, *lines)


def show_teachers(teachers: "Teachers") -> None:
    out = console()
    table = Table("model", "parameters", title="Networks of torchvision, for 1,000 classes")
    table.columns[1].justify = "right"
    for offered in teachers.offered:
        table.add_row(cell(offered.name), f"{offered.parameters:,}")
    out.print(table)
    if teachers.timm:
        print_lines(out, f"Networks of timm: {teachers.timm:,}, each as timm:NAME.")
    else:
        print_lines(out, 'Networks of timm, as timm:NAME: pip install "kdsearch[timm]".')
    if not teachers.cached:
        print_lines(out, "No teacher in the cache yet; 'kdsearch teacher train STUDY' trains one.")
        return
    print_lines(out, "In the cache, newest first:")
    for cached in teachers.cached:
        facts = f"{cached.name}: {percent(cached.accuracy)}, {cached.parameters:,} parameters"
        print_lines(out, f"  {facts} ({cached.origin}), {cached.folder}")
