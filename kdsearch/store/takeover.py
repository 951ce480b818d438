"""Finds trials whose worker is gone, fails them and enqueues them again."""

import time
import warnings
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.trial import TrialState

from kdsearch.store.facts import End, keep_end
from kdsearch.store.liveness import is_gone, is_near, worker_of
from kdsearch.store.queue import retry
from kdsearch.store.storage import StudyStorage, grace_seconds
from kdsearch.store.trials import StudyTrial, Trials


class Seen(NamedTuple):
    """A running trial's heartbeat, and since when it has not changed, by this process's own clock."""

    beat: datetime | str | None
    since: float


class Takeover:
    """One worker's eye on the others.

    Optuna's heartbeat finds the dead of other machines; on this one the process table does, at once. A trial
    that is RUNNING without a heartbeat lost its worker before the first one: seen twice, a grace time apart,
    it is failed. `clock` counts seconds.
    """

    def __init__(
        self, study: optuna.Study, storage: StudyStorage, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.study, self.storage, self.clock = study, storage, clock
        self.grace = grace_seconds()
        self.patience = self.grace + 2.0  # databases count heartbeats in whole seconds
        self.seen: dict[int, Seen] = {}  # by trial number
        self.doubted: dict[int, Seen] | None = None  # of those that ran before this process began

    def __call__(self, trials: Trials) -> bool:
        """Fails what is dead, so that its place is waiting, or missing; says whether there was anything."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            fail_stale_trials(self.study)
        running = Trials.of(self.study, trials).in_state(TrialState.RUNNING)
        self._look(running)
        dead = [trial for trial in running if _lives(trial) is False or self._is_orphan(trial)]
        for trial in dead:
            give_back(self.study, trial)
        self._doubt([trial for trial in running if trial not in dead])
        return bool(dead) or len(running) < len(trials.in_state(TrialState.RUNNING))

    def _look(self, running: list[StudyTrial]) -> None:
        beats = self.storage.heartbeats() if running else {}
        now, before = self.clock(), self.seen
        self.seen = {}
        for trial in running:
            seen = Seen(beats.get(trial.frozen._trial_id), now)
            known = before.get(trial.number, seen)
            self.seen[trial.number] = known if known.beat == seen.beat else seen

    def _is_orphan(self, trial: StudyTrial) -> bool:
        seen = self.seen[trial.number]
        return seen.beat is None and self.clock() - seen.since > self.grace

    def _doubt(self, running: list[StudyTrial]) -> None:
        """Trials that ran before this process began are in doubt until they beat or their time is up."""
        beats, now = {trial.number: self.seen[trial.number].beat for trial in running}, self.clock()
        if self.doubted is None:
            self.doubted = {t.number: Seen(beats[t.number], now) for t in running if not _lives(t)}
        self.doubted = {
            number: seen
            for number, seen in self.doubted.items()
            if number in beats and beats[number] == seen.beat and now - seen.since < self.patience
        }


def _lives(trial: StudyTrial) -> bool | None:
    """Whether the process of the trial's worker lives; None if it would not be seen from here."""
    worker = worker_of(trial)
    return not is_gone(worker) if worker and is_near(worker) else None


def give_back(study: optuna.Study, trial: StudyTrial) -> None:
    """Fails a RUNNING trial whose worker is gone and enqueues it again; does nothing if somebody else did."""
    storage = study._storage  # Optuna offers no other way to fail a trial that one has not asked for
    trial_id = trial.frozen._trial_id
    try:
        if trial.facts.mark is None:
            keep_end(study, trial.frozen, End.LOST)
        storage.set_trial_state_values(trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:
        return
    retry(study, storage.get_trial(trial_id))
