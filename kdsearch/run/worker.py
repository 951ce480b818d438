"""One worker: trains the trials in the study's queue until all places are finished."""

import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import optuna
import torch
from optuna import TrialPruned
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState

from kdsearch.device import choose_device, share
from kdsearch.engine.lean import give_memory_back, stay_lean
from kdsearch.engine.training import InterruptedTrainingError
from kdsearch.errors import (
    CacheClearedError,
    CacheDamagedError,
    KdsearchError,
    OutageError,
    StorageError,
    StudyDeletedError,
)
from kdsearch.phases.bench import Bench, Prepared
from kdsearch.phases.phase import PHASES, Phase
from kdsearch.run.child import child, give_up, leave
from kdsearch.run.protocol import OVERHEAD, Channel, Job, Spent
from kdsearch.store.checkpoints import remove_spent
from kdsearch.store.facts import End, keep
from kdsearch.store.identity import open_study, stored_study
from kdsearch.store.queue import DuplicateTrialError, SurplusTrialError, enqueue_place, retry
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.storage import StudyStorage, open_storage
from kdsearch.store.studies import study_of
from kdsearch.store.takeover import Takeover
from kdsearch.store.trials import Trials, check_failures

IDLE_SECONDS = 0.2


def work_process(connection: Connection, job: Job) -> None:
    """The main function of a worker process."""
    with child(connection) as (channel, stop):
        study, storage, bench = open_bench(job, channel, stop)
        channel.send(Spent("start-up of workers", time.time() - job.told))
        try:
            for phase in PHASES:
                if stop():
                    break
                if phase.target(study) == 0:
                    continue
                own = study_of(study, phase.name)
                Worker(own, bench, job, channel, Takeover(own, storage), phase=phase, search=study).work()
        except (OutageError, StorageError, StudyDeletedError) as error:
            give_up(channel, error)
        leave(128 + signal.SIGTERM if stop() else 0)


def open_bench(
    job: Job, channel: Channel, stop: Callable[[], bool]
) -> tuple[optuna.Study, StudyStorage, Bench]:
    """Makes this process one that trains students: their numbers depend on its libraries and threads."""
    stay_lean()
    prepared = Prepared.model_validate(job.prepared)
    torch.set_num_threads(prepared.threads)
    share(choose_device(prepared.device), prepared.sharing)
    storage = open_storage(job.storage, check=False)  # as the preparing process has
    study = open_study(storage, job.study)
    record = StudyRecord(storage.engine, job.study)
    return study, storage, Bench(stored_study(study), prepared, record, stop, channel.say)


class Worker:
    """Runs one trial of a phase after the other; any number of workers share a study."""

    def __init__(
        self,
        study: optuna.Study,
        bench: Bench,
        job: Job,
        channel: Channel,
        take_over: Takeover,
        *,
        phase: Phase = PHASES[0],
        search: optuna.Study | None = None,
    ) -> None:
        self.study, self.bench, self.job, self.channel, self.take_over = study, bench, job, channel, take_over
        self.phase, self.search = phase, search or study
        self.since = job.since if phase.name == SEARCH else len(study.get_trials(deepcopy=False))
        self.recipes = phase.recipes(bench)
        self.latest: int | None = None  # the trial that it ran last, until that is settled
        self.fatal: CacheClearedError | CacheDamagedError | None = None  # an error that stops every trial
        self.told: set[int] = set()  # trials that the user knows are waited for

    def work(self) -> None:
        """Trains until all places are finished or `stop()` is true. Raises as `check_failures`."""
        trials = Trials([])
        while True:
            trials = Trials.of(self.study, trials)
            self._settle(trials)
            if self.fatal:
                raise self.fatal
            if self.bench.stop():
                return
            target = self.phase.target(self.search)
            check_failures(trials, self.since, target)
            if not self._go_on(trials, target):
                return

    def _go_on(self, trials: Trials, target: int) -> bool:
        """Runs a trial, or waits a little; False if nothing is left to do."""
        running = trials.in_state(TrialState.RUNNING)
        if trials.in_state(TrialState.WAITING):
            self._run_one(target, trials)
        elif running and self.take_over(trials):
            pass  # what was dead waits now
        elif running and self.job.size == 1 and self.take_over.doubted:
            self._wait_for(min(self.take_over.doubted))
        elif missing := trials.missing_places(target):
            place = missing[min(self.job.place, len(missing) - 1)]
            enqueue_place(self.study, Run(self.phase.name, place, 0), trials, self.recipes, alone=target == 1)
            self._run_one(target, trials)
        elif running:
            self._wait()
        else:
            return False
        return True

    def _wait_for(self, number: int) -> None:
        """Waits, so that a single worker samples in the same order as an uninterrupted one."""
        if number not in self.told:
            self.told.add(number)
            seconds = round(self.take_over.patience)
            self.channel.say(f"trial {number} may have lost its worker; waiting for it, at most {seconds} s")
        self._wait()

    def _wait(self) -> None:
        time.sleep(IDLE_SECONDS)
        self.channel.send(Spent("waiting", IDLE_SECONDS))

    def _run_one(self, target: int, trials: Trials) -> None:
        started, trained = time.perf_counter(), self.bench.trained_seconds
        numbers: list[int] = []

        def objective(trial: Trial) -> float:
            numbers.append(trial.number)
            return self._guarded(trial, target, trials)

        try:
            self.study.optimize(objective, n_trials=1, catch=(Exception,))
        except UnboundLocalError as error:  # what Optuna makes of an error that it meets storing the answer
            if isinstance(error.__context__, KdsearchError):
                give_up(self.channel, error.__context__)
            raise
        except (ValueError, AssertionError, UpdateFinishedTrialError):
            if self.study.get_trials(deepcopy=False)[numbers[0]].state == TrialState.RUNNING:
                raise
            return  # this worker had been silent for so long that another one has taken its trial over
        self.latest = numbers[0]
        give_memory_back()
        training = self.bench.trained_seconds - trained
        self.channel.send(Spent("training", training))
        self.channel.send(Spent(OVERHEAD, time.perf_counter() - started - training))

    def _guarded(self, trial: Trial, target: int, trials: Trials) -> float:
        """The only place that catches every exception: the trial becomes FAIL, with its reason."""
        try:
            return self.phase.train(trial, self.bench, target, trials)
        except (TrialPruned, SurplusTrialError, DuplicateTrialError, UpdateFinishedTrialError):
            raise
        except InterruptedTrainingError:
            keep(trial, mark=End.INTERRUPTED)
            raise
        except (OutageError, StorageError, StudyDeletedError) as error:
            give_up(self.channel, error)
        except (CacheClearedError, CacheDamagedError) as error:
            keep(trial, mark=End.INTERRUPTED)
            self.fatal = error
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            keep(trial, reason=reason, mark=End.FAILED)
            raise

    def _settle(self, trials: Trials) -> None:
        """Enqueues an interrupted trial again; removes the checkpoint of one whose result Optuna has."""
        if self.latest is None:
            return
        trial, self.latest = trials[self.latest], None
        if trial.state == TrialState.FAIL and trial.facts.mark == End.INTERRUPTED:
            retry(self.study, trial.frozen)
        elif trial.run and (trial.is_finished or trial.facts.mark == End.FAILED):
            remove_spent(self.bench.checkpoints, trials.of_place(trial.run.place))
