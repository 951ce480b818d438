"""Which study a command means. Loads no torch."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import optuna
from optuna.storages import BaseStorage

from kdsearch.errors import StudyDeletedError, UsageError
from kdsearch.store.record import StudyRecord
from kdsearch.store.storage import open_existing

LAST_RUN = "last_run"  # user attribute: seconds since 1970
PREPARING = "preparing"  # user attribute: the process that prepared the latest run
IDENTITY = ("data", "views", "params", "study")  # user attributes that a study has once it is created whole


def is_ours(attributes: Mapping[str, Any]) -> bool:
    """Whether kdsearch created the study that has these user attributes, whole."""
    return all(name in attributes for name in IDENTITY)


def studies_in(storage: BaseStorage) -> Mapping[str, dict[str, Any]]:
    """The studies that kdsearch created, with their user attributes; the most recently run comes first."""
    ours = {
        each.study_name: each.user_attrs for each in storage.get_all_studies() if is_ours(each.user_attrs)
    }
    return dict(sorted(ours.items(), key=lambda pair: -pair[1].get(LAST_RUN, 0.0)))


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


class Found(NamedTuple):
    """A study, and what it wrote down."""

    study: optuna.Study
    record: StudyRecord


def find(name: str | None, storage: str, *, reading: bool = True) -> Found:
    """As `choose_study`, in the database of that URL; `reading` waits for no writer.

    Raises UsageError, StorageError.
    """
    opened = open_existing(storage, reading=reading)
    study = choose_study(opened, name)
    return Found(study, StudyRecord(opened.engine, study.study_name))
