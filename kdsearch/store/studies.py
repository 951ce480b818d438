"""Finds the study that a command names, and removes one with all that it wrote."""

import time
from contextlib import suppress
from typing import NamedTuple

import optuna
from optuna.storages import BaseStorage
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from kdsearch.errors import IdentityError, OutageError, StorageError, StudyDeletedError, UsageError
from kdsearch.store.facts import is_whole, keep_parent, last_run, parent_of, study_facts
from kdsearch.store.liveness import is_alive, living, worker_of
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import SEARCH
from kdsearch.store.storage import grace_seconds, open_existing
from kdsearch.store.trials import Trials

ATTEMPTS = 5  # at a removal: a row that a worker adds in the same moment makes PostgreSQL refuse


def studies_in(storage: BaseStorage) -> list[str]:
    """The names of the studies that kdsearch created; the most recently run comes first."""
    ours = [each for each in storage.get_all_studies() if is_whole(each)]
    return [each.study_name for each in sorted(ours, key=last_run, reverse=True)]


def choose_study(storage: BaseStorage, name: str | None) -> optuna.Study:
    """The study of that name; without one the only study, else the most recently run. Raises UsageError."""
    known = studies_in(storage)
    if not known:
        raise UsageError("no study here yet; 'kdsearch run' creates one, --storage names another database")
    if name is None:
        name = known[0]
    if name not in known:
        raise UsageError(f"no study {name!r} here; there are: {', '.join(known)}")
    return load_study(storage, name)


def load_study(storage: BaseStorage, name: str) -> optuna.Study:
    """A study that was there a moment ago. Raises StudyDeletedError if it is not any more."""
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        raise StudyDeletedError from None


def study_of(study: optuna.Study, phase: str) -> optuna.Study:
    """The Optuna study that holds a phase's trials, made if it is missing; the search's is `study`.

    Raises IdentityError if that name is another program's.
    """
    if phase == SEARCH:
        return study
    name, parent = f"{study.study_name}/{phase}", study.study_name
    own = optuna.create_study(
        study_name=name, storage=study._storage, direction="maximize", load_if_exists=True
    )
    keep_parent(own, parent)
    if parent_of(own) != parent:
        raise IdentityError(
            f"study {name!r} in this database was not created by kdsearch; rename one of them"
        )
    return own


def phase_of(study: optuna.Study, phase: str) -> optuna.Study | None:
    """As `study_of`, but None if there is none yet."""
    if phase == SEARCH:
        return study
    name = f"{study.study_name}/{phase}"
    return next((own for own in with_phases(study)[1:] if own.study_name == name), None)


def finished_in(study: optuna.Study, phase: str) -> int:
    """How many trainings of a phase are finished."""
    own = phase_of(study, phase)
    return len(Trials.of(own).finished) if own else 0


def with_phases(study: optuna.Study) -> list[optuna.Study]:
    """The study, and those that hold its other phases."""
    storage = study._storage
    phases = [each for each in storage.get_all_studies() if parent_of(each) == study.study_name]
    return [study, *(load_study(storage, each.study_name) for each in phases)]


class Found(NamedTuple):
    """A study and its record."""

    study: optuna.Study
    record: StudyRecord


def find(name: str | None, storage: str, *, reading: bool = True) -> Found:
    """As `choose_study`, in the database of that URL; `reading` waits for no writer.

    Raises UsageError, StorageError.
    """
    opened = open_existing(storage, reading=reading)
    study = choose_study(opened, name)
    return Found(study, StudyRecord(opened.engine, study.study_name, reading=reading))


def check_idle(study: optuna.Study) -> None:
    """Raises UsageError if a process works on the study, or may do so on another machine."""
    facts = study_facts(study)
    workers = [worker_of(trial) for own in with_phases(study) for trial in living(own, Trials.of(own))]
    silence = time.time() - facts.last_run
    if facts.preparing and is_alive(facts.preparing, silent=silence > grace_seconds()):
        workers.append(facts.preparing)
    if workers:
        named = {f"process {each.pid} on {each.host}" for each in workers if each}
        raise UsageError(
            f"study {study.study_name!r} is in use ({', '.join(sorted(named)) or 'by a worker'}); "
            "stop these processes first, or remove the study with --force"
        )


def remove_study(study: optuna.Study, record: StudyRecord) -> None:
    """Deletes the study's record, then the study with its trials: a removal broken off can be repeated."""
    record.delete()
    refused = Retrying(
        retry=retry_if_exception_type((OutageError, StorageError)),
        stop=stop_after_attempt(ATTEMPTS),
        reraise=True,
    )
    for name in (*(each.study_name for each in with_phases(study)[1:]), study.study_name):
        with suppress(KeyError, StudyDeletedError):  # another removal was faster
            refused(optuna.delete_study, study_name=name, storage=study._storage)
    record.delete()  # what a worker wrote in between: from now on it cannot
