"""How long work reports its progress; `cli.display` shows it."""

from typing import NamedTuple, Protocol


class Standing(NamedTuple):
    """The state of a study while it runs."""

    target: int
    complete: int
    pruned: int
    failed: int
    running: int
    best: float | None  # validation accuracy, 0 to 1
    per_hour: float | None  # finished trials, in this run
    seconds_left: float | None
    what: str = "trials"  # that are counted

    @property
    def finished(self) -> int:
        return self.complete + self.pruned


class Progress(Protocol):
    """The interface to report progress."""

    def step(self, task: str, done: int, total: int, note: str = "") -> None:
        """Reports `done` of `total`; the first call opens the task's bar, `done == total` ends it."""

    def say(self, text: str) -> None:
        """Shows the user one line."""


class Watch(Progress, Protocol):
    """Progress of a search as well."""

    def standing(self, standing: Standing) -> None:
        """Shows the state of the study."""


class Silence:
    """Progress that shows nothing."""

    def step(self, task: str, done: int, total: int, note: str = "") -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def standing(self, standing: Standing) -> None:
        pass
