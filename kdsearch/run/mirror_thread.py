"""The mirror's thread in the supervisor: the search never waits for MLflow."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import optuna

from kdsearch.errors import KdsearchError, OutageError, StoppedError, StorageError, StudyDeletedError
from kdsearch.mirror.runs import TrialRow
from kdsearch.mirror.study_rows import study_row, trial_rows
from kdsearch.mirror.uri import one_line
from kdsearch.run.mirroring import End, OpenMirror, SayLine, close_mirror, winner_of
from kdsearch.run.signals import ONE_SIGNAL, stopping
from kdsearch.store.facts import StudyFacts, study_facts
from kdsearch.store.finalists import trainings_of
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import Run
from kdsearch.store.storage import StudyStorage, open_storage
from kdsearch.store.studies import load_study
from kdsearch.store.trials import Trials

if TYPE_CHECKING:
    from kdsearch.mirror.mirror import Mirror

TICK_SECONDS = 2.0
LIVE_TICKS = 5  # from one look at running trials to the next: each costs MLflow as much as a whole trial
END_SECONDS = 20.0  # how long a search that is over waits for an MLflow that takes nothing
OPENING_SECONDS = 60.0  # the same before the mirror is open: loading MLflow takes long on a busy machine
SIGNAL_SECONDS = 0.1  # how soon a signal is answered
PATIENCE_SECONDS = 2.0  # with the study's own database: the next tick comes soon


class MirrorThread(threading.Thread):
    """Mirrors a study every TICK_SECONDS until `finish`; says once when MLflow does not answer."""

    def __init__(
        self, open_mirror: OpenMirror, uri: str | None, storage: StudyStorage, study: str, say: SayLine
    ) -> None:
        super().__init__(daemon=True, name="mirror")
        self.open_mirror, self.uri, self.storage, self.study_name = open_mirror, uri, storage, study
        self.listener = say
        self.mirror: Mirror | None = None
        self.study: optuna.Study | None = None
        self.ending = threading.Event()
        self.end: End | None = None
        self.ticks = 0
        self.spent = 0.0  # seconds, waiting for MLflow included
        self.trials = Trials([])  # as the latest tick saw them
        self.finalists = Trials([])  # their trainings, likewise
        self.patience = PATIENCE_SECONDS  # with the study's record
        self.known: dict[int, TrialRow] = {}  # trials that have ended
        self.known_finalists: dict[int, TrialRow] = {}
        self.behind = True  # until a tick has ended well
        self.told = False  # of the failure that lasts
        self.failure: KdsearchError | None = None  # the error that ended it: there is no study to mirror

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

        Without that tick in a hurry, or if MLflow has taken nothing for `patience` seconds, or for `opening`
        seconds while it is being loaded.
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
            study = self.study = self.study or load_study(self.storage, self.study_name)
            facts, self.trials = study_facts(study), Trials.of(study, self.trials)
            self.finalists = trainings_of(study, self.finalists)
            mirror = self._opened_mirror(study, facts)
            finalists = trial_rows(self.finalists, self.known_finalists)
            mirror.tick([*trial_rows(self.trials, self.known), *finalists], live=live)
            close_mirror(mirror, study, self.trials, self.finalists, self.end)
        except OutageError:
            return  # the study's own database is away; those who need it more say so
        except (StorageError, StudyDeletedError) as error:
            self.failure = error
            self.ending.set()
            return
        except Exception as error:  # noqa: BLE001  the next tick may do better, so the thread never dies
            if not self.told:
                ours = isinstance(error, KdsearchError)
                why = str(error) if ours else f"the mirror: {one_line(error, self.uri)}"
                self.say(f"{why}; the study's database keeps everything, and 'kdsearch sync' catches up")
            self.told = True
            return
        self.behind = self.told = False

    def _opened_mirror(self, study: optuna.Study, facts: StudyFacts) -> "Mirror":
        """The mirror, with the study as it is now."""
        row = study_row(self.study_name, facts, self.trials, winner_of(study, self.finalists))
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
    say: SayLine,
    *,
    at_once: float = ONE_SIGNAL,
) -> NoReturn:
    """Mirrors a study until a signal asks the process to stop; raises StoppedError then, after a last tick.

    A second signal breaks that off, unless it comes within `at_once` seconds of the first. Raises
    StorageError if the database fails for good, and StudyDeletedError.
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
