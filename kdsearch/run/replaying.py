"""A replay: a preparing process, and one that trains a trial again, while the study stays as it is."""

import time
from collections.abc import Mapping
from multiprocessing.connection import wait
from typing import Any

from kdsearch.errors import ReportedError, StoppedError, UsageError
from kdsearch.progress import Silence, Watch
from kdsearch.run.child import Child, end
from kdsearch.run.protocol import Compared, Failed, Job, Ready, Request, Say, Step
from kdsearch.run.signals import stopping
from kdsearch.store.facts import StudentFacts
from kdsearch.store.replayed import Replayed
from kdsearch.store.studies import Found, find
from kdsearch.store.trials import Trials
from kdsearch.tables import STORAGE

TICK_SECONDS = 0.5


def replay(
    number: int, study: str | None, values: Mapping[str, Any], watch: Watch, *, keep: bool = False
) -> Replayed:
    """Trains a trial again, on its own kind of device unless `values` name one, and compares the epochs.

    Raises UsageError for a trial without recorded epochs, what a child reports, or StoppedError.
    """
    storage = values.get("run.storage", STORAGE)
    found = find(study, storage)
    student = _student(found, number)
    own = {"run.device": "cpu"} if student.device == "cpu" else {}
    name = found.study.study_name
    request = Request(study=name, values={**own, **values}, join=True, replay=True)
    found.record.engine.dispose()
    job = Job(name, storage, {"threads": int(student.threads or 1)}, 0, 1, 0, 0.0)
    return Replay(request, watch, job, number, keep=keep).run()


def _student(found: Found, number: int) -> StudentFacts:
    """The student of a trial that can be replayed. Raises UsageError."""
    trials, name = Trials.of(found.study), found.study.study_name
    if not 0 <= number < len(trials):
        known = f"its trials are 0 to {len(trials) - 1}" if len(trials) else "it has none yet"
        raise UsageError(f"study {name!r} has no trial {number}; {known}")
    trial = trials[number]
    if trial.run is None or trial.facts.student is None or not found.record.epochs(trial.run):
        how = trial.facts.mark or trial.state.name.lower()
        raise UsageError(f"trial {number} of study {name!r} has no recorded epoch to replay ({how})")
    return trial.facts.student


class Replay:
    """Supervises the two processes; the training begins with the first view.

    `job` has of `Prepared` what the trial decides; the preparing process adds the rest.
    """

    def __init__(self, request: Request, watch: Watch, job: Job, number: int, *, keep: bool) -> None:
        self.request, self.watch = request, watch
        self.job, self.number, self.keep = job, number, keep
        self.signals: list[int] = []
        self.failure: Failed | None = None
        self.replayed: Replayed | None = None

    def run(self) -> Replayed:
        """Raises ReportedError, or StoppedError after a signal."""
        with stopping(self.signals, self._hang_up):
            self.preparing = Child("kdsearch.run.preparing:prepare_process").begin(self.request)
            self.training = Child("kdsearch.run.replay:replay_process")
            try:
                while not (self.replayed or self.failure or self.signals):
                    self._listen()
            finally:
                end(self.preparing, self.training)
        if self.signals:
            raise StoppedError("stopped; the study is as it was", self.signals[0])
        if self.failure:
            raise ReportedError(self.failure.text, self.failure.exit_code)
        assert self.replayed is not None, "nothing else ends the loop"
        return self.replayed

    def _hang_up(self) -> None:
        self.watch = Silence()  # there is no terminal any more

    def _listen(self) -> None:
        children = [child for child in (self.preparing, self.training) if not child.silent]
        wait([child.connection for child in children], TICK_SECONDS)
        for child in children:
            for message in child.messages():
                self._hear(message)
        if self.preparing.ended and self.preparing.process.exitcode:
            self._give_up(f"the preparing process ended with {self.preparing.end}")
        if self.training.ended and not self.replayed:
            self._give_up(f"the training process ended with {self.training.end}")

    def _hear(self, message: Any) -> None:
        match message:
            case Step(task, done, total, note):
                self.watch.step(task, done, total, note)
            case Say(text):
                self.watch.say(text)
            case Ready(prepared):
                job = self.job._replace(prepared=prepared | self.job.prepared, told=time.time())
                self.training.begin(job, self.number, self.keep)
            case Failed():
                self.failure = self.failure or message
            case Compared(replayed):
                self.replayed = replayed

    def _give_up(self, why: str) -> None:
        self.failure = self.failure or Failed(why, 1)
