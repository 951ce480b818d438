"""The mirror's thread in the supervisor: the search never waits for MLflow."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, NoReturn, Protocol

import optuna

from kdsearch.errors import KdsearchError, OutageError, StoppedError, StorageError, StudyDeletedError
from kdsearch.mirror.runs import StudyRow, TrialRow
from kdsearch.mirror.study_rows import study_row, trial_rows
from kdsearch.mirror.uri import one_line
from kdsearch.run.signals import ONE_SIGNAL, stopping
from kdsearch.store.facts import keep, study_facts
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import Run
from kdsearch.store.storage import StudyStorage, open_storage
from kdsearch.store.studies import load_study
from kdsearch.store.trials import Trials

TICK_SECONDS = 2.0
LIVE_TICKS = 5  # from one look at running trials to the next: each costs MLflow as much as a whole trial
END_SECONDS = 20.0  # how long a search that is over waits for an MLflow that takes nothing
OPENING_SECONDS = 60.0  # the same before the mirror is open: loading MLflow takes long on a busy machine
SIGNAL_SECONDS = 0.1  # how soon a signal is answered
PATIENCE_SECONDS = 2.0  # with the study's own database: the next tick comes soon
End = Literal["FINISHED", "KILLED", "FAILED"]


class Mirroring(Protocol):
    """What `mirror.mirror.Mirror` does; it is passed in, since importing it loads MLflow."""

    study: StudyRow
    moved: float  # when MLflow last took something, on the monotonic clock

    def tick(self, trials: list[TrialRow], *, live: bool = True) -> None:
        """Sends what is new, of running trials only if `live`."""

    def close(self, status: End) -> None:
        """Ends the parent run."""

    def awaits_model(self, run: Run) -> str | None:
        """The id of a trial's run that has no model yet."""

    def page(self) -> str | None:
        """Where a tracking server compares the trials."""


Say = Callable[[str], None]
OpenMirror = Callable[[str | None, StudyRow, StudyRecord, Say], Mirroring]


class MirrorThread(threading.Thread):
    """Mirrors a study every TICK_SECONDS until `finish`; says once when MLflow does not answer."""

    def __init__(
        self,
        open_mirror: OpenMirror,
        uri: str | None,
        storage: StudyStorage,
        study: str,
        say: Say,
    ) -> None:
        super().__init__(daemon=True, name="mirror")
        self.open_mirror, self.uri, self.storage, self.study_name = open_mirror, uri, storage, study
        self.listener = say
        self.mirror: Mirroring | None = None
        self.study: optuna.Study | None = None
        self.ending = threading.Event()
        self.end: End | None = None
        self.ticks = 0
        self.spent = 0.0  # seconds, waiting for MLflow included
        self.trials = Trials([])  # as the latest tick saw them
        self.patience = PATIENCE_SECONDS  # with the study's record
        self.known: dict[int, TrialRow] = {}  # trials that have ended
        self.behind = True  # until a tick has ended well
        self.told = False  # of the failure that lasts
        self.failure: KdsearchError | None = None  # that ended it: there is no study to mirror any more

    def run(self) -> None:
        """Ticks until the end, and once after it."""
        while not self.ending.is_set():
            self._tick()
            self.ending.wait(TICK_SECONDS)
        self._tick()

    def finish(
        self,
        end: End | None,
        hurry: Callable[[], bool],
        *,
        patience: float = END_SECONDS,
        opening: float = OPENING_SECONDS,
    ) -> bool:
        """Ends the thread after a last tick; says whether MLflow has everything.

        Without that tick in a hurry, or where MLflow has taken nothing for `patience` seconds, or for
        `opening` seconds while it is being loaded.
        """
        self.end = end
        self.ending.set()
        begun = time.monotonic()
        while self.is_alive() and not hurry():
            self.join(0.1)
            since, limit = begun, opening
            if mirror := self.mirror:
                since, limit = max(begun, mirror.moved), patience
            if time.monotonic() - since > limit:
                return False
        return not self.behind

    def say(self, text: str) -> None:
        """One line to the user, whose terminal may be closed: no reason to mirror nothing more."""
        with suppress(OSError):
            self.listener(text)

    def awaits_model(self, run: Run) -> str | None:
        """The id of a trial's run in MLflow, if it got there and has no model yet."""
        return self.mirror.awaits_model(run) if self.mirror and not self.behind else None

    def _tick(self) -> None:
        self.behind = True
        started = time.perf_counter()
        try:
            self._mirror()
        finally:
            self.spent += time.perf_counter() - started

    def _mirror(self) -> None:
        live = self.ending.is_set() or self.ticks % LIVE_TICKS == 0
        self.ticks += 1
        try:
            study = self._opened_study()
            self.trials = Trials.of(study, self.trials)
            mirror = self._opened_mirror(study, self.trials)
            mirror.tick(trial_rows(self.trials, self.known), live=live)
            _close(mirror, study, self.trials, self.end)
        except OutageError:
            return  # the study's own database is away; those who need it more say so
        except (StorageError, StudyDeletedError) as error:
            self.failure = error
            self.ending.set()
            return
        except Exception as error:  # noqa: BLE001  the next tick may do better, so the thread never dies
            if not self.told:
                why = (
                    str(error)
                    if isinstance(error, KdsearchError)
                    else f"the mirror: {one_line(error, self.uri)}"
                )
                self.say(f"{why}; the study's database keeps everything, and 'kdsearch sync' catches up")
            self.told = True
            return
        self.behind = self.told = False

    def _opened_study(self) -> optuna.Study:
        if self.study is None:
            self.study = load_study(self.storage, self.study_name)
        return self.study

    def _opened_mirror(self, study: optuna.Study, trials: Trials) -> Mirroring:
        """The mirror, told of the study as it is now."""
        row = study_row(self.study_name, study_facts(study), trials)
        if self.mirror is None:
            record = StudyRecord(self.storage.engine, self.study_name, patience=self.patience)
            self.mirror = self.open_mirror(self.uri, row, record, self.say)
        self.mirror.study = row
        return self.mirror


def follow_study(
    open_mirror: OpenMirror,
    uri: str | None,
    storage: str,
    study: str,
    say: Say,
    *,
    at_once: float = ONE_SIGNAL,
) -> NoReturn:
    """Mirrors a study until a signal asks the process to stop; raises StoppedError then, after a last tick.

    A second signal breaks that off, unless it comes within `at_once` seconds of the first. Raises
    StorageError where the database fails for good, and StudyDeletedError.
    """
    signals: list[int] = []
    opened = open_storage(storage, patience=PATIENCE_SECONDS)
    thread = MirrorThread(open_mirror, uri, opened, study, say)
    with stopping(signals, at_once=at_once):
        thread.start()
        while thread.is_alive() and not signals:
            thread.join(SIGNAL_SECONDS)
        thread.finish(None, lambda: len(signals) > 1)
    if thread.failure:
        raise thread.failure
    if not signals:
        raise StorageError(f"copying study {study!r} to MLflow stopped; check its database and try again")
    raise StoppedError("stopped", signals[0])


def mirror_once(
    open_mirror: OpenMirror, uri: str | None, record: StudyRecord, study: optuna.Study, say: Say
) -> str | None:
    """One tick; returns the best trial's run, if it has no model yet.

    Raises MirrorUnavailableError where MLflow does not answer.
    """
    trials = Trials.of(study)
    mirror = open_mirror(uri, study_row(study.study_name, study_facts(study), trials), record, say)
    mirror_now(mirror, study, trials)
    best = trials.best.run if trials.best else None
    return mirror.awaits_model(best) if best else None


def mirror_now(mirror: Mirroring, study: optuna.Study, trials: Trials) -> None:
    """One tick of a mirror, and the end of the parent run where the study has its trials."""
    mirror.tick(trial_rows(trials))
    _close(mirror, study, trials, None)


def _close(mirror: Mirroring, study: optuna.Study, trials: Trials, end: End | None) -> None:
    """Ends the parent run, as told or because the study has its trials; keeps where they are compared."""
    page, facts = mirror.page(), study_facts(study)
    if page and facts.comparison != page:
        keep(study, comparison=page)
    has_all = len(trials.finished) >= max(1, facts.target)
    if end or has_all:
        mirror.close(end or "FINISHED")
