"""A study whose trials train nothing: what is left is what the study itself costs, by part.

Everything but the training is real: Optuna's storage, the worker's loop, the sampler and the pruner, the
record, the checkpoints, the weights of the best. The students are built, and their width is solved.
"""

import functools
import gc
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from fashion import Quiet, alone
from optuna.study import _optimize
from optuna.trial import FrozenTrial
from sqlalchemy import Engine, event

from kdsearch.engine.checkpoint import Checkpoint
from kdsearch.engine.training import Training
from kdsearch.epoch import EpochResult
from kdsearch.phases import phase
from kdsearch.phases import search as trial
from kdsearch.phases.bench import Bench, Prepared
from kdsearch.phases.samplers import Median
from kdsearch.phases.suggest import Draw
from kdsearch.run import worker as loop
from kdsearch.run.preparing import prepare
from kdsearch.run.protocol import Channel, Job, Request
from kdsearch.store.identity import open_study, stored_study
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import Run
from kdsearch.store.storage import StudyStorage, open_storage
from kdsearch.store.takeover import Takeover
from kdsearch.study.trial_config import TrialConfig

EPOCHS = 30
STUDY = "digits"
TINY = {  # a teacher and a view that nobody learns from
    "data.train_images": 200,
    "teacher.model": "mobilenet_v3_small",
    "teacher.epochs": 1,
    "views.count": 1,
    "training.epochs": EPOCHS,
}
PARTS: tuple[tuple[Any, str, str], ...] = (
    (loop.Worker, "work", "look"),
    (loop, "enqueue_place", "enqueue"),
    (loop, "give_memory_back", "memory"),
    (optuna.Study, "optimize", "ask"),
    (optuna.Study, "ask", "ask"),
    (phase, "run_trial", "claim and facts"),
    (Draw, "__init__", "suggest"),
    (Draw, "config", "suggest"),
    (trial, "refuse_duplicate", "duplicates"),
    (Bench, "fitted", "width"),
    (Bench, "training", "student"),
    (trial, "count_parameters", "student"),
    (trial, "student_facts", "student"),
    (StudyRecord, "epoch", "record"),
    (Bench, "checkpoint", "checkpoint"),
    (Checkpoint, "save", "checkpoint"),
    (optuna.Trial, "report", "report"),
    (Median, "__call__", "prune"),
    (trial, "keep_weights", "weights"),
    (_optimize, "_tell_with_warning", "tell"),
)
ASKING = ("look", "enqueue", "ask", "claim and facts", "suggest", "duplicates")  # until a config is there
EPOCH = ("record", "report", "prune")
ENDING = ("checkpoint", "weights", "tell")
BUILDING = ("width", "student", "memory")  # with or without a database


class Lap(NamedTuple):
    """What each part of one trial took: seconds, and SQL statements."""

    seconds: Counter[str]
    statements: Counter[str]


class Clock:
    """Times the parts of one thread's trials; what a part calls of another one is that one's."""

    def __init__(self) -> None:
        self.lap = Lap(Counter(), Counter())
        self.laps: list[Lap] = []
        self.thread = threading.get_ident()
        self.open: list[str] = []
        self.since = time.perf_counter()

    @contextmanager
    def running(self) -> Iterator[None]:
        """While this lasts, kdsearch's own functions are timed."""
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in PARTS]
        for owner, name, part in PARTS:
            setattr(owner, name, self.timed(getattr(owner, name), part))
        try:
            yield
        finally:
            for owner, name, call in before:
                setattr(owner, name, call)

    def count(self, engine: Engine) -> None:
        """From now on the engine's statements are counted."""

        @event.listens_for(engine, "before_cursor_execute")
        def heard(*_: object) -> None:
            here = self.open and threading.get_ident() == self.thread
            self.lap.statements[self.open[-1] if here else "heartbeat"] += 1

    def next_lap(self) -> None:
        self._pass()
        self.laps.append(self.lap)
        self.lap = Lap(Counter(), Counter())

    def timed(self, call: Callable[..., Any], part: str) -> Callable[..., Any]:
        @functools.wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._pass()
            self.open.append(part)
            try:
                return call(*args, **kwargs)
            finally:
                self._pass()
                self.open.pop()

        return timed

    def _pass(self) -> None:
        now = time.perf_counter()
        if self.open:
            self.lap.seconds[self.open[-1]] += now - self.since
        self.since = now


def nothing() -> None:
    """No mirror."""


class Untrained(Training):
    """A training whose epochs are there at once, better than other trials', so that none is pruned."""

    mirror: Callable[[], None] = staticmethod(nothing)

    def _epoch(self) -> EpochResult:
        epoch = len(self.results)
        if epoch == EPOCHS // 2:
            self.mirror()
        result = EpochResult(
            epoch=epoch, train_loss=1.0, parts={"ce": 1.0, "kl": 2.0}, val_loss=1.0,
            val_accuracy=0.9 + epoch / 1000, learning_rate=0.01, images_per_second=1e4, seconds=0.3,
            finished_at=time.time(),
        )  # fmt: skip
        self.results.append(result)
        return result


class UntrainedBench(Bench):
    """A bench whose trainings are over as soon as they are asked."""

    def training(self, config: TrialConfig, run: Run) -> Training:
        made = super().training(config, run)
        parts, seed = (made.network, made.objective, config.training, made.batches), self.seed(run)
        untrained = Untrained(*parts, self.validation, seed=seed)
        untrained.mirror = self.mirror
        return untrained

    mirror: Callable[[], None] = staticmethod(nothing)


class Lapping(loop.Worker):
    """A worker that says where one trial ends and the next begins."""

    clock: Clock
    mirror: Callable[[], None]

    def _settle(self, trials: Sequence[FrozenTrial]) -> None:
        super()._settle(trials)
        self.mirror()
        self.clock.next_lap()


class Untaught(NamedTuple):
    """A study that is ready for its first trial, in one database."""

    study: optuna.Study
    storage: StudyStorage
    record: StudyRecord
    prepared: Prepared
    url: str

    def run(self, target: int, clock: Clock, mirror: Callable[[], None] = nothing) -> None:
        """One worker, until the study has so many trials; `mirror` in the middle and at the end of each."""
        self.study.set_user_attr("target", target)
        heard, said = Pipe(duplex=False)
        bench = UntrainedBench(stored_study(self.study), self.prepared, self.record, lambda: False)
        job = Job(STUDY, self.url, {}, 0, 1, len(self.study.get_trials(deepcopy=False)), 0.0)
        worker = Lapping(self.study, bench, job, Channel(said), Takeover(self.study, self.storage))
        worker.clock, worker.mirror, bench.mirror = clock, mirror, mirror
        worker.work()
        heard.close()

    def laps(self, trials: int, mirror: Callable[[], None] = nothing) -> list[Lap]:
        """So many more trials, part by part; the part `mirror` is what that call takes."""
        clock = Clock()
        for engine in (self.storage.engine, self.record.engine):
            clock.count(engine)
        finished = len(self.study.get_trials(deepcopy=False))
        with clock.running():
            self.run(finished + trials, clock, clock.timed(mirror, "mirror"))
        return clock.laps[1:]


def untaught(url: str, folder: Path) -> Untaught:
    """The shipped study `digits` with 30 epochs, created in the database at `url`."""
    alone()
    channel = Quiet()
    os.environ["KDSEARCH_STATE"] = str(folder)
    own = {"run.storage": url, "run.device": "cpu", "run.trials": 10_000}
    prepare(Request(study=STUDY, values={**TINY, **own}), channel)
    assert channel.prepared, "views are asked for"
    storage = open_storage(url)
    gc.collect()
    gc.freeze()  # as a worker does
    return Untaught(open_study(storage, STUDY), storage, StudyRecord(url, STUDY), channel.prepared, url)
