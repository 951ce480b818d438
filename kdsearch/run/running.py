"""A run, as its supervisor sees it: the study, and the time by part."""

import time
from collections import defaultdict
from typing import Any

import optuna

from kdsearch.errors import OutageError
from kdsearch.outages import OUTAGE_SECONDS
from kdsearch.progress import Standing
from kdsearch.run.protocol import LATER_VIEWS, OVERHEAD, Created
from kdsearch.store.facts import StudyFacts, study_facts
from kdsearch.store.finalists import candidates, has_finalists
from kdsearch.store.runs import FINALISTS
from kdsearch.store.status import standing
from kdsearch.store.storage import StudyStorage, open_storage
from kdsearch.store.studies import load_study, phase_of
from kdsearch.store.trials import Trials

SHARED = ("start-up of workers", "training", OVERHEAD, "waiting")  # parts of all workers, side by side
LOOK_SECONDS = 2.0  # how long a look at the study waits for a database that is away


class RunningStudy:
    """A study that the preparing process has created; `patience` is in seconds, until it is opened."""

    def __init__(self, created: Created, patience: float = OUTAGE_SECONDS) -> None:
        self.created, self.patience = created, patience
        self.storage: StudyStorage | None = None
        self.study: optuna.Study | None = None
        self.trials = Trials([])  # as they were at the latest look
        self.since = 0  # the first trial number of this run
        self.finalists = Trials([])  # their trainings, likewise
        self.finalists_began: tuple[float, int] | None = None  # when, and how many were finished then
        self.is_last_phase = False
        self.looked = time.monotonic()

    def open(self) -> bool:
        """Whether the study could be opened; another try may come soon.

        Raises StudyDeletedError and StorageError, also if the database was away for `patience` seconds.
        """
        try:
            self.storage = self.storage or open_storage(self.created.storage, patience=LOOK_SECONDS)
            study = load_study(self.storage, self.created.name)
            self.trials = Trials.of(study)
        except OutageError:
            if time.monotonic() - self.looked > self.patience:
                raise
            return False
        self.study, self.since = study, len(self.trials)
        return True

    def look(self, seconds: float) -> Standing | None:
        """Where the study stands; `seconds` is how long workers have trained.

        None while its database is away: the workers wait for that, and report it if it does not come back.
        Raises StorageError, StudyDeletedError.
        """
        assert self.study is not None, "a study is opened before it is looked at"
        self.looked = time.monotonic()
        try:
            self.trials, facts = Trials.of(self.study, self.trials), study_facts(self.study)
            now = standing(facts.target, self.trials, self.created.finished, seconds)
            is_over = now.finished >= now.target
            self.is_last_phase = is_over or not has_finalists(facts)
            return self._look_at_finalists(facts) if is_over and has_finalists(facts) else now
        except OutageError:
            return None

    @property
    def finished(self) -> int:
        """Finished trainings of all phases."""
        return len(self.trials.finished) + len(self.finalists.finished)

    def _look_at_finalists(self, facts: StudyFacts) -> Standing:
        own = phase_of(self.study, FINALISTS) if self.study else None
        self.finalists = Trials.of(own, self.finalists) if own else Trials([])
        if self.finalists_began is None:
            self.finalists_began = self.looked, len(self.finalists.finished)
        began, before = self.finalists_began
        target = len(candidates(facts, self.trials))
        now = standing(target, self.finalists, before, self.looked - began)
        return now._replace(what=FINALISTS, best=None)

    def close(self) -> None:
        if self.storage:
            self.storage.engine.dispose()


class Account:
    """Seconds by part, as the processes report them."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def fields(self, workers: int, mirror: float) -> dict[str, Any]:
        """The fields of a Summary about time, now that the run is over; `mirror` is the mirror's seconds."""
        parts = {
            part: value / max(1, workers) if part in SHARED else value for part, value in self.seconds.items()
        }
        beside = {"mirror": mirror}
        if LATER_VIEWS in parts:
            beside[LATER_VIEWS] = parts.pop(LATER_VIEWS)
        parts["all"] = time.monotonic() - self.started
        return {"seconds": parts, "beside": beside, "overhead": parts.get(OVERHEAD, 0.0) + mirror}
