"""Which study a command means. Loads no torch."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import optuna
from optuna.storages import BaseStorage

from kdsearch.errors import UsageError
from kdsearch.search.storage import open_existing
from kdsearch.tracking.record import StudyRecord

LAST_RUN = "last_run"  # user attribute: seconds since 1970


def studies_in(storage: BaseStorage) -> Mapping[str, dict[str, Any]]:
    """The studies that kdsearch created, with their user attributes; the most recently run comes first."""
    found = [
        optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)
    ]
    ours = {study.study_name: study.user_attrs for study in found if "study" in study.user_attrs}
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
    return optuna.load_study(study_name=name, storage=storage)


class Found(NamedTuple):
    """A study, and what it wrote down."""

    study: optuna.Study
    record: StudyRecord


def find(name: str | None, storage: str) -> Found:
    """As `choose_study`, in the database of that URL. Raises UsageError, StorageError."""
    study = choose_study(open_existing(storage), name)
    return Found(study, StudyRecord(storage, study.study_name))


def remove_study(study: optuna.Study) -> None:
    """Deletes the study with its trials."""
    optuna.delete_study(study_name=study.study_name, storage=study._storage)
