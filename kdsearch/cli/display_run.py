"""The terminal's output about a study at the end of a run."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from kdsearch.api import STORAGE
from kdsearch.cli.display import cell, clock, console, loading_lines, percent, print_lines, worth
from kdsearch.cli.display_finalists import show_finalists

if TYPE_CHECKING:
    from kdsearch.api import Audit, Ledger, Summary

SHOWN_PARTS = 0.01  # parts of a run below this share are summed up as the rest


def show_summary(summary: "Summary") -> None:
    """Prints the five best trials, how much one image counts, where the time went, and the next commands."""
    out = console()
    print_lines(out, "", f"Study {summary.study}: {_counts(summary)}")
    if summary.best:
        out.print(_best(summary))
        print_lines(out, worth(summary.validation_images), *_plainly(summary))
    if summary.finalists:
        show_finalists(out, summary.finalists)
    if len(summary.seconds) > 1:
        print_lines(out, *_time(summary))
    if summary.ledger.in_every_step:
        print_lines(out, _asked(summary.ledger))
    if summary.audit.trials:
        print_lines(out, _audited(summary.audit))
    print_lines(out, *summary.notes)
    if summary.best:
        where = " with this --storage" if summary.storage != STORAGE else ""
        export = f"kdsearch export-best{where}"
        opens = where if summary.compare and summary.compare.startswith("kdsearch ui") else ""
        compare = [f"Compare the trials: {summary.compare}{opens}"] if summary.compare else []
        print_lines(out, *compare, *loading_lines(summary.loading), f"Next: {export}")


def _counts(summary: "Summary") -> str:
    text = f"{summary.finished} of {summary.target} trials finished, {summary.pruned} of them pruned"
    return f"{text}, {summary.failed} failed" if summary.failed else text


def _best(summary: "Summary") -> Table:
    table = Table(
        "trial", "accuracy", "vs teacher", "parameters", "MACs", "family", "loss", title="Best trials"
    )
    for column in table.columns[:5]:
        column.justify = "right"
    for entry in summary.best:
        table.add_row(
            str(entry.trial),
            percent(entry.accuracy),
            "-"
            if summary.teacher_accuracy is None
            else f"{100 * (entry.accuracy - summary.teacher_accuracy):+.2f}",
            f"{entry.parameters:,}",
            f"{entry.macs:,}",
            cell(entry.family),
            cell(entry.loss),
        )
    return table


def _plainly(summary: "Summary") -> Iterator[str]:
    """Says so if distillation did not help, or if the teacher is worse than a student."""
    without, taught = summary.best_without_teacher, summary.best_with_teacher
    if without and taught and without.accuracy > taught.accuracy:
        gap = 100 * (without.accuracy - taught.accuracy)
        yield f"The best student without distillation beats the best with it by {gap:.2f} points."
    best = summary.best[0]
    if summary.teacher_accuracy is not None and best.accuracy > summary.teacher_accuracy:
        gap = 100 * (best.accuracy - summary.teacher_accuracy)
        yield f"The best student beats the teacher by {gap:.2f} points: a better teacher may help."


def _time(summary: "Summary") -> Iterator[str]:
    """The shares of the run's time; work in parallel to the search is listed separately."""
    whole = summary.seconds["all"]
    shares = {part: seconds / whole for part, seconds in summary.seconds.items() if part != "all"}
    shown = {part: share for part, share in shares.items() if share >= SHOWN_PARTS}
    rest = 1 - sum(shown.values())
    last = f", the rest {rest:.1%}" if rest >= SHOWN_PARTS else ""  # the starting of processes, above all
    beside = {part: seconds / whole for part, seconds in summary.beside.items()}
    meanwhile = f"; in parallel: {_shares(beside)}" if beside else ""
    yield f"Time {clock(whole)}: {_shares(shown)}{last}{meanwhile}."
    share = summary.overhead / whole
    yield f"The study itself takes {share:.1%}: sampling, storage, record, checkpoints and mirror together."


def _shares(parts: dict[str, float]) -> str:
    return ", ".join(f"{part} {share:.1%}" for part, share in sorted(parts.items(), key=lambda p: -p[1]))


def _asked(ledger: "Ledger") -> str:
    answered, steps = ledger.answered, ledger.in_every_step
    times = f", {steps / answered:.1f} times as many" if steps > answered else ""
    return f"Teacher forward passes: {answered:,} images (in every step it would be {steps:,}{times})."


def _audited(audit: "Audit") -> str:
    trials = "1 weak trial" if audit.trials == 1 else f"{audit.trials} weak trials"
    return f"Pruner audit: {trials} trained to the end; {audit.wrong} then beat the best trial of that time."
