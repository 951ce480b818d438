"""How long work tells a watcher where it stands; `cli.display` shows it."""

from typing import NamedTuple, Protocol


class Standing(NamedTuple):
    """Where a study stands."""

    target: int
    complete: int
    pruned: int
    failed: int
    running: int
    best: float | None  # validation accuracy, 0 to 1
    per_hour: float | None  # finished trials, in this run
    seconds_left: float | None

    @property
    def finished(self) -> int:
        """Trials that count."""
        return self.complete + self.pruned


class Progress(Protocol):
    """Something that is told of progress."""

    def step(self, task: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` of the task are done; the first call opens its bar, `done == total` ends it."""

    def say(self, text: str) -> None:
        """One line that the user should see."""


class Watch(Progress, Protocol):
    """Progress of a search as well."""

    def standing(self, standing: Standing) -> None:
        """The study as it is now."""


class Silence:
    """Progress that nobody watches."""

    def step(self, task: str, done: int, total: int, note: str = "") -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def standing(self, standing: Standing) -> None:
        """Nothing."""
