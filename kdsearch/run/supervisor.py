"""One machine's share of a study: a preparing process, its workers, the mirror, and the user's signals."""

import time
from multiprocessing.connection import wait
from typing import Any

from kdsearch.errors import (
    OutageError,
    ReportedError,
    SearchError,
    StoppedError,
    StorageError,
    StudyDeletedError,
)
from kdsearch.progress import Silence, Watch
from kdsearch.run.child import Child, end
from kdsearch.run.crew import Crew
from kdsearch.run.mirror_thread import MirrorThread
from kdsearch.run.mirroring import End, OpenMirror
from kdsearch.run.model_log import ModelLog
from kdsearch.run.protocol import Created, Failed, Ready, Request, Say, Spent, Step
from kdsearch.run.running import Account, RunningStudy
from kdsearch.run.signals import stopping
from kdsearch.store.finalists import winning_run
from kdsearch.store.status import Summary, summary
from kdsearch.store.trials import Trials

TICK_SECONDS = 0.5
LOADING_SECONDS = 10.0  # what the process that logs the best model needs for its libraries


class Supervisor:
    """Runs children until the study has its trials; holds no tensors and decides nothing about trials.

    Nothing is mirrored without `open_mirror`; `model_log` is to be used after the run.
    """

    def __init__(
        self,
        request: Request,
        watch: Watch,
        open_mirror: OpenMirror | None = None,
        model_log: ModelLog | None = None,
    ) -> None:
        self.request, self.watch, self.open_mirror, self.model_log = request, watch, open_mirror, model_log
        self.crew, self.account = Crew(), Account()
        self.running: RunningStudy | None = None  # once the study exists
        self.mirror: MirrorThread | None = None
        self.signals: list[int] = []
        self.failure: Failed | None = None

    def run(self) -> Summary:
        """Until the target is reached.

        Raises what a child reports, SearchError, StorageError, or StoppedError after a signal.
        """
        with stopping(self.signals, self._hang_up):
            self.preparing = Child("kdsearch.run.preparing:prepare_process").begin(self.request)
            try:
                if self.request.views:
                    self.crew.warm_up()
                while self._is_busy():
                    self._listen()
                    self._look_after_children()
                return self._end()
            finally:
                end(self.preparing, *self.crew.children, at_once=len(self.signals) > 1)
                if self.running:
                    self.running.close()

    def _hang_up(self) -> None:
        self.watch = Silence()  # there is no terminal any more: to write to it would be an error

    def _say(self, text: str) -> None:
        self.watch.say(text)  # whatever it is by then

    def _is_busy(self) -> bool:
        if len(self.signals) > 1:
            return False
        if self.crew.workers:
            return any(self.crew.workers)
        if self.running and self.running.study is None and not (self.failure or self.signals):
            return True  # its database is away: `RunningStudy.open` gives it up at last
        return not self.preparing.ended

    def _listen(self) -> None:
        children = [self.preparing, *self.crew.children]
        wait([child.connection for child in children if not child.silent], TICK_SECONDS)
        for child in children:
            for message in child.messages():
                self._hear(message)
        if self.running is None:
            return
        try:
            if self.running.study is None:
                if not self.failure and self.running.open():
                    self._start(self.running)
            elif time.monotonic() - self.running.looked >= TICK_SECONDS:
                self._watch(self.running)
        except (OutageError, StorageError, StudyDeletedError) as error:
            self.failure = self.failure or Failed(str(error), error.exit_code)

    def _hear(self, message: Any) -> None:
        match message:
            case Step(task, done, total, note):
                self.watch.step(task, done, total, note)
            case Say(text):
                self._say(text)
            case Spent(part, seconds):
                self.account.seconds[part] += seconds
            case Failed():
                self.failure = self.failure or message
            case Created():
                self.running = RunningStudy(message)
                self.account.seconds["start-up and data"] = time.monotonic() - self.account.started
            case Ready(prepared):
                self.crew.give_jobs(prepared)

    def _start(self, running: RunningStudy) -> None:
        created = running.created
        if self.open_mirror and running.storage:  # of a finished study too: MLflow may have missed its end
            where = created.tracking_uri, running.storage, created.name
            self.mirror = MirrorThread(self.open_mirror, *where, self._say)
            self.mirror.start()
        if self.request.views and created.left:  # what they load takes seconds
            self.crew.start(created, running.since)

    def _watch(self, running: RunningStudy) -> None:
        crew = self.crew
        now = running.look(time.monotonic() - crew.began if crew.prepared else 0.0)
        if now is None:
            return
        crew.count_finished(running.finished)
        if crew.prepared:
            self.watch.standing(now)
        nearly = now.seconds_left is not None and now.seconds_left <= LOADING_SECONDS
        nearly = nearly or now.finished + len(crew.workers) >= now.target
        if nearly and running.is_last_phase and crew.workers and self.model_log and self.mirror:
            self.model_log.warm_up()

    def _look_after_children(self) -> None:
        if self.preparing.ended and self.preparing.process.exitcode and not (self.failure or self.signals):
            self.failure = Failed(f"the preparing process ended with {self.preparing.end}", 1)
        if self.signals or self.failure:
            self.preparing.ask_to_stop()
            self.crew.stop()
        self.failure = self.crew.replace_dead() or self.failure

    def _end(self) -> Summary:
        if self.signals:
            self._finish_mirror("KILLED")
            at_once = " at once" if len(self.signals) > 1 else ""
            checkpoints = ", from the last checkpoints" if at_once else ""
            raise StoppedError(f"stopped{at_once}; the same command resumes{checkpoints}", self.signals[0])
        if self.failure:
            self._finish_mirror("FAILED")
            raise ReportedError(self.failure.text, self.failure.exit_code)
        if self.running is None or self.running.study is None:
            raise SearchError("the preparing process ended without a study")
        study, created = self.running.study, self.running.created
        last_trial = time.monotonic()
        has_all = self._finish_mirror("FINISHED")
        self.account.seconds["MLflow after the last trial"] = time.monotonic() - last_trial
        fields = self.account.fields(len(self.crew.workers), self.mirror.spent if self.mirror else 0.0)
        notes = []
        if not created.left:
            done = created.finished
            notes.append(f"{done} of {done} finished; --trials {done + 100} adds 100")
        if not has_all:
            notes.append("MLflow lacks some results; 'kdsearch sync' adds them")
        run = winning_run(study, Trials.of(study, self.running.trials))
        return summary(study, created.storage, created.hint_losses).model_copy(
            update={
                **fields,
                "notes": tuple(notes),
                "best_run_id": self.mirror.awaits_model(run) if self.mirror and run else None,
                "tracking_uri": created.tracking_uri,
            }
        )

    def _finish_mirror(self, how: End) -> bool:
        """Says whether MLflow has everything."""
        return self.mirror is None or self.mirror.finish(how, lambda: len(self.signals) > 1)
