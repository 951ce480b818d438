"""Messages of child processes to the supervisor, through a pipe each: a killed child holds no lock."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from pydantic import Field

from kdsearch.config import Record
from kdsearch.store.replayed import Replayed

# Parts of a run, of which more is said than their names.
OVERHEAD = "sampling, storage and checkpoints"
LATER_VIEWS = "later views"


class Step(NamedTuple):
    """Progress of a task of the preparing process."""

    task: str
    done: int
    total: int
    note: str


class Say(NamedTuple):
    """A line for the user."""

    text: str


class Failed(NamedTuple):
    """The child cannot go on, for a reason that the user can mend."""

    text: str
    exit_code: int


class Created(NamedTuple):
    """The study exists: the supervisor can watch it."""

    name: str
    storage: str
    tracking_uri: str | None
    workers: str
    target: int
    finished: int
    left: bool  # whether a phase still wants trainings
    cuda_devices: int  # that the workers share; 0 if the study runs on the CPU
    hint_losses: tuple[str, ...]  # those that read feature maps


class Ready(NamedTuple):
    """The first view exists: workers can begin."""

    prepared: dict[str, Any]


class Spent(NamedTuple):
    """Seconds that a child spent on one part of the run."""

    part: str
    seconds: float


class Compared(NamedTuple):
    """The answer of a replay."""

    replayed: Replayed


class Request(Record):
    """The request of `run`, `finalize`, `worker`, `init` or `replay` to the preparing process."""

    study: str  # a shipped name, a TOML file; with `join`, the name of a study that exists
    values: dict[str, Any] = Field(default_factory=dict)  # that replace the study file's, by table.key
    join: bool = False
    finalize: bool = False  # with `join`: the search is over, and finalists are to be trained
    replay: bool = False  # with `join`: a trial is to be trained again, and the study to stay as it is
    views: bool = True  # False: stop when the teacher is there

    @property
    def mirrored(self) -> bool:
        return self.views and (self.finalize or not self.join)


class Job(NamedTuple):
    """The arguments of a worker process."""

    study: str
    storage: str
    prepared: dict[str, Any]
    place: int  # among the workers of its machine, from 0
    size: int  # how many those are
    since: int  # the first trial number of this run
    told: float  # when, in seconds since the epoch


class Channel:
    """The child's end of its pipe; it fulfils `progress.Progress`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def send(self, message: tuple[Any, ...]) -> None:
        """Sends a message to the supervisor; does nothing if the supervisor is gone."""
        try:
            self.connection.send(message)
        except OSError:
            return

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Reports how long the block took, as a part of the run."""
        started = time.perf_counter()
        yield
        self.send(Spent(part, time.perf_counter() - started))

    def step(self, task: str, done: int, total: int, note: str = "") -> None:
        self.send(Step(task, done, total, note))

    def say(self, text: str) -> None:
        self.send(Say(text))
