"""Finds the study that a command names."""

from collections.abc import Mapping
from typing import NamedTuple

import optuna
from optuna.storages import BaseStorage

from kdsearch.errors import StudyDeletedError, UsageError
from kdsearch.store.facts import StudyFacts, facts_in
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import SEARCH
from kdsearch.store.storage import open_existing


def studies_in(storage: BaseStorage) -> Mapping[str, StudyFacts]:
    """The studies that kdsearch created, by name; the most recently run comes first."""
    stored = ((each.study_name, facts_in(each)) for each in storage.get_all_studies())
    ours = {name: facts for name, facts in stored if facts}
    return dict(sorted(ours.items(), key=lambda pair: -pair[1].last_run))


def choose_study(storage: BaseStorage, name: str | None) -> optuna.Study:
    """The study of that name; without one the only study, else the most recently run. Raises UsageError."""
    known = studies_in(storage)
    if not known:
        raise UsageError("no study here yet; 'kdsearch run' creates one, --storage names another database")
    if name is None:
        name = next(iter(known))
    if name not in known:
        raise UsageError(f"no study {name!r} here; there are: {', '.join(known)}")
    return load_study(storage, name)


def load_study(storage: BaseStorage, name: str) -> optuna.Study:
    """A study that was there a moment ago. Raises StudyDeletedError where it is not any more."""
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        raise StudyDeletedError from None


def study_of(study: optuna.Study, phase: str) -> optuna.Study:
    """The Optuna study that holds a phase's trials, made where it is missing; the search's is `study`."""
    if phase == SEARCH:
        return study
    return optuna.create_study(
        study_name=f"{study.study_name}/{phase}",
        storage=study._storage,
        direction="maximize",
        load_if_exists=True,
    )


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
    return Found(study, StudyRecord(opened.engine, study.study_name))
