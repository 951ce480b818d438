"""The progress of work, on standard error."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from kdsearch.cli.display import clock, console, percent, print_lines
from kdsearch.names import visible
from kdsearch.progress import Silence, Standing, Watch

PLAIN_SECONDS = 5.0  # between two lines about one thing, when not on a terminal
COLUMNS = (
    TextColumn("{task.description}", markup=False),
    BarColumn(),
    MofNCompleteColumn(),
    TextColumn("{task.fields[note]}", markup=False),
)


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
        self.progress.console.print(visible(text), markup=False)

    def standing(self, standing: Standing) -> None:
        self.step(standing.what, standing.finished, standing.target, _standing(standing))


class Lines:
    """Progress as lines, for output that is not a terminal; `clock` counts seconds."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self.clock = console, clock
        self.told: dict[str, float] = {}
        self.last: tuple[str, int, int] | None = None

    def step(self, task: str, done: int, total: int, note: str = "") -> None:
        """Prints a line when a task begins and ends, and every PLAIN_SECONDS in between."""
        if task.startswith("view") or not self._is_time(task, done in (0, total)):
            return
        self.say(f"{task} {done}/{total} {note}".rstrip() if total else task)

    def say(self, text: str) -> None:
        print_lines(self.console, text)

    def standing(self, standing: Standing) -> None:
        """Prints a line when a trial has finished, at most every PLAIN_SECONDS."""
        now = standing.what, standing.finished, standing.failed
        if now != self.last and self._is_time(standing.what, standing.finished in (0, standing.target)):
            self.last = now
            self.say(f"{standing.what} {standing.finished}/{standing.target} {_standing(standing)}")

    def _is_time(self, about: str, important: bool) -> bool:
        due = important or self.clock() - self.told.get(about, -math.inf) > PLAIN_SECONDS
        if due:
            self.told[about] = self.clock()
        return due


def _standing(standing: Standing) -> str:
    parts = [f"{standing.pruned} pruned", f"{standing.failed} failed"]
    if standing.best is not None:
        parts.append(f"best {percent(standing.best)}")
    if standing.per_hour:
        parts.append(f"{standing.per_hour:,.0f} an hour")
    if standing.seconds_left:
        parts.append(f"{clock(standing.seconds_left)} left")
    return ", ".join(parts)
