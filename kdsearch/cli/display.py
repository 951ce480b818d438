"""The terminal's output: progress on standard error, results on standard output."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from kdsearch.api import STORAGE
from kdsearch.cli.output import cell, console, print_lines
from kdsearch.names import visible
from kdsearch.progress import Silence, Standing, Watch

if TYPE_CHECKING:
    from kdsearch.api import Audit, Exported, Ledger, Ranked, ShippedStudy, Status, Summary, Trained

PLAIN_SECONDS = 5.0  # between two lines about one thing, when not on a terminal
COLUMNS = (
    TextColumn("{task.description}", markup=False),
    BarColumn(),
    MofNCompleteColumn(),
    TextColumn("{task.fields[note]}", markup=False),
)
SHOWN_PARTS = 0.01  # parts of a run below this share are summed up as the rest


@contextmanager
def watching(quiet: bool) -> Iterator[Watch]:
    """Bars on a terminal, lines elsewhere, nothing if `quiet`."""
    out = console(stderr=True)
    if quiet:
        yield Silence()
    elif out.is_terminal:
        with Progress(*COLUMNS, console=out) as progress:
            yield Bars(progress)
    else:
        yield Lines(out)


class Bars:
    """Progress on a terminal."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}

    def step(self, task: str, done: int, total: int, note: str = "") -> None:
        """Moves the task's bar; a view's bar vanishes when it is full."""
        if task not in self.tasks:
            self.tasks[task] = self.progress.add_task(visible(task), total=total or None, note="")
        self.progress.update(self.tasks[task], completed=done, note=visible(note))
        if done == total and task.startswith("view"):
            self.progress.update(self.tasks[task], visible=False)

    def say(self, text: str) -> None:
        """Prints the line above the bars."""
        self.progress.console.print(visible(text), markup=False)

    def standing(self, standing: Standing) -> None:
        """Moves the bar of the search."""
        self.step("trials", standing.finished, standing.target, _standing(standing))


class Lines:
    """Progress as lines, for output that is not a terminal; `clock` counts seconds."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self.clock = console, clock
        self.told: dict[str, float] = {}
        self.last: tuple[int, int] = (-1, -1)

    def step(self, task: str, done: int, total: int, note: str = "") -> None:
        """Prints a line when a task begins and ends, and every PLAIN_SECONDS in between."""
        if task.startswith("view") or not self._is_time(task, done in (0, total)):
            return
        self.say(f"{task} {done}/{total} {note}".rstrip() if total else task)

    def say(self, text: str) -> None:
        """Prints the line."""
        print_lines(self.console, text)

    def standing(self, standing: Standing) -> None:
        """Prints a line when a trial has finished, at most every PLAIN_SECONDS."""
        now = standing.finished, standing.failed
        if now != self.last and self._is_time("trials", standing.finished in (0, standing.target)):
            self.last = now
            self.say(f"trials {standing.finished}/{standing.target} {_standing(standing)}")

    def _is_time(self, about: str, important: bool) -> bool:
        due = important or self.clock() - self.told.get(about, -math.inf) > PLAIN_SECONDS
        if due:
            self.told[about] = self.clock()
        return due


def _standing(standing: Standing) -> str:
    parts = [f"{standing.pruned} pruned", f"{standing.failed} failed"]
    if standing.best is not None:
        parts.append(f"best {_percent(standing.best)}")
    if standing.per_hour:
        parts.append(f"{standing.per_hour:,.0f} an hour")
    if standing.seconds_left:
        parts.append(f"{_clock(standing.seconds_left)} left")
    return ", ".join(parts)


def show_summary(summary: "Summary") -> None:
    """Prints the five best trials, how much one image counts, where the time went, and the next commands."""
    out = console()
    print_lines(out, "", f"Study {summary.study}: {_counts(summary)}")
    if summary.best:
        out.print(_best(summary))
        print_lines(out, *_worth(summary), *_plainly(summary))
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
        print_lines(out, *compare, *_loading(summary.loading), f"Next: {export}")


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
            _percent(entry.accuracy),
            "-"
            if summary.teacher_accuracy is None
            else f"{100 * (entry.accuracy - summary.teacher_accuracy):+.2f}",
            f"{entry.parameters:,}",
            f"{entry.macs:,}",
            cell(entry.family),
            cell(entry.loss),
        )
    return table


def _worth(summary: "Summary") -> Iterator[str]:
    images = summary.validation_images
    yield f"One of the {images:,} validation images counts {100 / images:.2f} points."


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
    yield f"Time {_clock(whole)}: {_shares(shown)}{last}{meanwhile}."
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


def show_created(summary: "Summary") -> None:
    """Prints that the study is ready for workers."""
    standing = f"{summary.finished} of {summary.target} trials finished"
    print_lines(console(), f"Study {summary.study} is ready for workers: {standing}.")


def show_status(status: "Status") -> None:
    """Prints the state of one study, a row for each fact."""
    table = Table(title=cell(f"Study {status.study}"), show_header=False)
    table.add_row("finished", f"{status.finished} of {status.target}")
    table.add_row("complete, pruned, failed", f"{status.complete}, {status.pruned}, {status.failed}")
    table.add_row("running", f"{status.running} trials, {status.workers} workers")
    table.add_row("best", cell(_ranked(status.best) if status.best else "none yet"))
    if status.per_hour:
        table.add_row("trials an hour", f"{status.per_hour:,.0f}")
    if status.seconds_left:
        table.add_row("time left", _clock(status.seconds_left))
    out = console()
    out.print(table)
    print_lines(out, f"Compare the trials: {status.compare}")


def _ranked(entry: "Ranked") -> str:
    size = f"{entry.parameters:,} parameters"
    return f"trial {entry.trial}: {_percent(entry.accuracy)}, {size}, {entry.family}, {entry.loss}"


def show_studies(studies: "list[ShippedStudy]") -> None:
    """Prints two tables: kdsearch's own studies, and recipes with their published results."""
    ours, published = Table("study", "what it searches"), Table("recipe", "what it reproduces", "published")
    for study in studies:
        if study.recipe:
            published.add_row(cell(study.name), cell(study.recipe), cell(study.result))
        else:
            ours.add_row(cell(study.name), cell(study.description))
    console().print(ours, published)


def show_trained(trained: "Trained") -> None:
    """Prints the result beside the published one."""
    test = f", test {_percent(trained.test.accuracy)}" if trained.test else ""
    lines = [
        f"Here: validation {_percent(trained.validation_accuracy)}{test}, {trained.parameters:,} parameters"
    ]
    if trained.note:
        lines.append(trained.note)
    if trained.published.result:
        lines.append(f"Published: {trained.published.result} ({trained.published.recipe})")
    print_lines(console(), *lines)


def show_exported(exported: "Exported") -> None:
    """Prints the accuracy of the exported student, and the paths of its files."""
    test = (
        f"{_percent(exported.test.accuracy)} on {exported.test.images:,} test images"
        if exported.test
        else "not read"
    )
    lines = [
        f"Study {exported.study}, trial {exported.trial}: {exported.parameters:,} parameters",
        f"validation {_percent(exported.validation_accuracy)}, test {test}",
        *exported.notes,
        *(f"  {path}" for path in exported.paths),
        "Each form was loaded back and gives the outputs of the trained student.",
    ]
    print_lines(console(), *lines, *_loading(exported.loading))


def _loading(loading: tuple[str, ...]) -> list[str]:
    return ["The best model in MLflow:", *(f"  {line}" for line in loading)] if loading else []


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
