"""One machine's share of a study: a preparing process, its workers, the mirror, and the user's signals."""

import time
from multiprocessing.connection import wait
from typing import Any

import optuna

from kdsearch.errors import (
    KdsearchError,
    OutageError,
    ReportedError,
    SearchError,
    StoppedError,
    StorageError,
    StudyDeletedError,
)
from kdsearch.outages import OUTAGE_SECONDS
from kdsearch.progress import Silence, Watch
from kdsearch.run.accounting import accounts
from kdsearch.run.child import Child
from kdsearch.run.machine import count_workers, share_of
from kdsearch.run.mirror_thread import MirrorThread, OpenMirror
from kdsearch.run.model_log import ModelLog
from kdsearch.run.protocol import (
    Created,
    Failed,
    Job,
    Ready,
    Request,
    Say,
    Spent,
    Step,
)
from kdsearch.run.signals import stopping
from kdsearch.store.facts import study_facts
from kdsearch.store.status import Summary, standing, summary
from kdsearch.store.storage import StudyStorage, open_storage
from kdsearch.store.studies import load_study
from kdsearch.store.trials import Trials

TICK_SECONDS = 0.5
CLEANING_SECONDS = 5.0
WATCHING_SECONDS = 2.0  # how long a look at the study waits for a database that is away
LOADING_SECONDS = 10.0  # what the process that logs the best model needs for its libraries
WORK = "kdsearch.run.worker:work_process"
DEATHS = 5  # of workers, without a finished trial in between, before the run is given up


class Supervisor:
    """Runs children until the study has its trials; holds no tensors and decides nothing about trials."""

    def __init__(
        self, request: Request, watch: Watch, open_mirror: OpenMirror | None, model_log: ModelLog | None
    ) -> None:
        self.request, self.watch, self.open_mirror, self.model_log = request, watch, open_mirror, model_log
        self.first: Child | None = None  # a worker that loads its libraries while there is no study yet
        self.workers: list[Child | None] = []
        self.prepared: dict[str, Any] | None = None  # once workers have their jobs
        self.created: Created | None = None
        self.storage: StudyStorage | None = None
        self.study: optuna.Study | None = None
        self.trials = Trials([])  # as they were at the latest look
        self.mirror: MirrorThread | None = None
        self.seconds: dict[str, float] = {}
        self.signals: list[int] = []
        self.failure: Failed | None = None
        self.deaths = 0
        self.finished = 0
        self.since = 0
        self.patience: float = OUTAGE_SECONDS  # with a database that is away when it is opened
        self.started = self.looked = time.monotonic()

    def run(self) -> Summary:
        """Until the target is reached.

        Raises what a child reports, SearchError, StorageError, or StoppedError after a signal.
        """
        with stopping(self.signals, self._hang_up):
            self.preparing = Child("kdsearch.run.preparing:prepare_process").begin(self.request)
            try:
                if self.request.views:
                    self.first = Child(WORK)
                while self._is_busy():
                    self._listen()
                    self._look_after_children()
                return self._end()
            finally:
                self._kill()
                if self.storage:
                    self.storage.engine.dispose()

    def _hang_up(self) -> None:
        self.watch = Silence()  # there is no terminal any more: to write to it would be an error

    def _say(self, text: str) -> None:
        self.watch.say(text)  # whatever it is by then

    @property
    def _children(self) -> list[Child]:
        return [self.preparing, *(worker for worker in (self.first, *self.workers) if worker)]

    def _is_busy(self) -> bool:
        if len(self.signals) > 1:
            return False
        if self.workers:
            return any(self.workers)
        return not self.preparing.ended or self._is_opening

    @property
    def _is_opening(self) -> bool:
        """Whether there is a study whose database is away: `_open` gives it up at last."""
        created = self.created is not None and self.study is None
        return created and not (self.failure or self.signals)

    def _listen(self) -> None:
        wait([child.connection for child in self._children if not child.silent], TICK_SECONDS)
        for child in self._children:
            for message in child.messages():
                self._hear(message)
        if self.created and self.study is None and not self.failure:
            self._open(self.created)
        if self.study is not None and time.monotonic() - self.looked >= TICK_SECONDS:
            self._watch(self.study)
            self.looked = time.monotonic()

    def _hear(self, message: Any) -> None:
        match message:
            case Step(task, done, total, note):
                self.watch.step(task, done, total, note)
            case Say(text):
                self._say(text)
            case Spent(part, seconds):
                self.seconds[part] = self.seconds.get(part, 0.0) + seconds
            case Failed():
                self.failure = self.failure or message
            case Created():
                self.created, self.looked = message, time.monotonic()
                self.seconds["start-up and data"] = time.monotonic() - self.started
            case Ready(prepared):
                self._give_jobs(prepared)

    def _open(self, created: Created) -> None:
        try:
            self.storage = self.storage or open_storage(created.storage, patience=WATCHING_SECONDS)
            study = load_study(self.storage, created.name)
            self.trials = Trials.of(study)
            self.finished, self.since = created.finished, len(self.trials)
        except (OutageError, StorageError, StudyDeletedError) as error:
            waited = time.monotonic() - self.looked
            if not isinstance(error, OutageError) or waited > self.patience:
                self._fail(error)
            return  # otherwise the next look comes soon
        self.study = study
        if self.open_mirror:  # of a finished study too: MLflow may have missed its end
            where = created.tracking_uri, self.storage, created.name
            self.mirror = MirrorThread(self.open_mirror, *where, self._say)
            self.mirror.start()
        if self.request.views and created.left:  # what they load takes seconds
            size = count_workers(created.workers, created.cuda_devices)
            self.workers = [None] * size
            for index in range(size):
                self.workers[index] = self._worker(index)

    def _give_jobs(self, prepared: dict[str, Any]) -> None:
        self.began, self.prepared = time.monotonic(), prepared
        for index, worker in enumerate(self.workers):
            if worker:
                worker.begin(self._job(index, prepared))

    def _job(self, index: int, prepared: dict[str, Any]) -> Job:
        assert self.created is not None, "a study is created before its views"
        name, storage, cuda = self.created.name, self.created.storage, self.created.cuda_devices
        place = prepared | share_of(index, len(self.workers), prepared["device"], cuda)
        return Job(name, storage, place, index, len(self.workers), self.since, time.time())

    def _worker(self, index: int) -> Child | None:
        if self.signals or self.failure:
            return None
        worker, self.first = self.first or Child(WORK), None
        return worker.begin(self._job(index, self.prepared)) if self.prepared else worker

    def _watch(self, study: optuna.Study) -> None:
        assert self.created is not None, "no study without its creation"
        begun = time.monotonic() - self.began if self.prepared else 0.0
        try:
            self.trials = Trials.of(study, self.trials)
            now = standing(study_facts(study).target, self.trials, self.created.finished, begun)
        except OutageError:
            return  # its workers wait for it, and say so if it does not come back
        except (StorageError, StudyDeletedError) as error:
            self._fail(error)
            return
        if now.finished > self.finished:
            self.finished, self.deaths = now.finished, 0
        if self.prepared:
            self.watch.standing(now)
        nearly = now.seconds_left is not None and now.seconds_left <= LOADING_SECONDS
        nearly = nearly or now.finished + len(self.workers) >= now.target
        if nearly and self.workers and self.model_log and self.mirror:
            self.model_log.warm_up()

    def _fail(self, error: KdsearchError) -> None:
        self.failure = self.failure or Failed(str(error), error.exit_code)

    def _look_after_children(self) -> None:
        if self.signals or self.failure:
            self._ask_to_stop()
        if self.preparing.ended and self.preparing.process.exitcode and not (self.failure or self.signals):
            self.failure = Failed(f"the preparing process ended with {_how(self.preparing)}", 1)
        for index, worker in enumerate(self.workers):
            if worker and worker.ended:
                self.workers[index] = self._replacement(index, worker)

    def _ask_to_stop(self) -> None:
        for child in self._children:
            if not child.ended and not child.asked_to_stop:
                child.ask_to_stop()

    def _replacement(self, index: int, worker: Child) -> Child | None:
        code = worker.process.exitcode
        if code == 0 or self.signals or self.failure:
            return None
        self.deaths += 1
        if self.deaths > DEATHS:
            self.failure = Failed(
                f"worker processes keep dying, the last with {_how(worker)}; out of memory?", 1
            )
        return self._worker(index)

    def _end(self) -> Summary:
        if self.signals:
            self._finish_mirror("KILLED")
            raise self._stopped()
        if self.failure:
            self._finish_mirror("FAILED")
            raise ReportedError(self.failure.text, self.failure.exit_code)
        if self.study is None or self.created is None:
            raise SearchError("the preparing process ended without a study")
        last_trial = time.monotonic()
        behind = not self._finish_mirror("FINISHED")
        now = time.monotonic()
        seconds = {**self.seconds, "MLflow after the last trial": now - last_trial, "all": now - self.started}
        notes = []
        if not self.created.left:
            notes.append(self._nothing_to_do())
        if behind:
            notes.append("MLflow lacks some results; 'kdsearch sync' adds them")
        winner = Trials.of(self.study, self.trials).best
        best = winner.run if winner else None
        return summary(self.study, self.created.storage, self.created.hint_losses).model_copy(
            update={
                **accounts(seconds, len(self.workers), self.mirror.spent if self.mirror else 0.0),
                "notes": tuple(notes),
                "best_run_id": self.mirror.awaits_model(best) if self.mirror and best else None,
                "tracking_uri": self.created.tracking_uri,
            }
        )

    def _nothing_to_do(self) -> str:
        assert self.created is not None, "a study that is finished exists"
        done = self.created.finished
        return f"{done} of {done} finished; --trials {done + 100} adds 100"

    def _finish_mirror(self, end: Any) -> bool:
        """Says whether MLflow has everything."""
        return self.mirror is None or self.mirror.finish(end, lambda: len(self.signals) > 1)

    def _stopped(self) -> StoppedError:
        if len(self.signals) > 1:
            return StoppedError(
                "stopped at once; the same command resumes, from the last checkpoints", self.signals[0]
            )
        return StoppedError("stopped; the same command resumes", self.signals[0])

    def _kill(self) -> None:
        if len(self.signals) < 2:
            self.preparing.process.terminate()  # it removes what it has half made
            self.preparing.process.join(CLEANING_SECONDS)
        for child in self._children:
            child.process.kill()
            child.process.join()


def _how(child: Child) -> str:
    code = child.process.exitcode or 0
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def supervise(
    request: Request, watch: Watch, open_mirror: OpenMirror | None, model_log: ModelLog | None = None
) -> Summary:
    """Runs this machine's share of a study to its end; `model_log` is to be used after it.

    Raises as `Supervisor.run`.
    """
    return Supervisor(request, watch, open_mirror, model_log).run()
