"""The terminal's output about studies: one that exists, and those that come with kdsearch."""

from typing import TYPE_CHECKING

from rich.table import Table

from kdsearch.cli.display import cell, clock, console, percent, print_lines
from kdsearch.cli.display_finalists import show_finalists

if TYPE_CHECKING:
    from kdsearch.api import Ranked, ShippedStudy, Status, Summary


def show_created(summary: "Summary") -> None:
    standing = f"{summary.finished} of {summary.target} trials finished"
    print_lines(console(), f"Study {summary.study} is ready for workers: {standing}.")


def show_status(status: "Status") -> None:
    """Prints the state of one study, a row for each fact."""
    table = Table(title=cell(f"Study {status.study}"), show_header=False)
    table.add_row("finished", f"{status.finished} of {status.target}")
    table.add_row("complete, pruned, failed", f"{status.complete}, {status.pruned}, {status.failed}")
    table.add_row("running", f"{status.running} trials, {status.workers} workers")
    for each in status.phases:
        best = f", best {percent(each.best)}" if each.best is not None else ""
        counts = f"{each.finished} of {each.target} finished, {each.running} running"
        table.add_row(cell(f"phase {each.phase}"), f"{counts}{best}")
    table.add_row("best", cell(_ranked(status.best) if status.best else "none yet"))
    if status.per_hour:
        table.add_row("trials an hour", f"{status.per_hour:,.0f}")
    if status.seconds_left:
        table.add_row("time left", clock(status.seconds_left))
    out = console()
    out.print(table)
    if status.finalists:
        show_finalists(out, status.finalists)
    print_lines(out, f"Compare the trials: {status.compare}")


def _ranked(entry: "Ranked") -> str:
    size = f"{entry.parameters:,} parameters"
    return f"trial {entry.trial}: {percent(entry.accuracy)}, {size}, {entry.family}, {entry.loss}"


def show_studies(studies: "list[ShippedStudy]") -> None:
    ours, published = Table("study", "what it searches"), Table("recipe", "what it reproduces", "published")
    for study in studies:
        if study.recipe:
            published.add_row(cell(study.name), cell(study.recipe), cell(study.result))
        else:
            ours.add_row(cell(study.name), cell(study.description))
    console().print(ours, published)
