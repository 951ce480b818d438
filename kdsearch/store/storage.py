"""Optuna's storage, whose calls outlive a database that goes away for a while."""

import json
import os
import warnings
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
)
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import NOT_FOUND_MSG
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Table, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from tenacity import retry_if_exception

from kdsearch.database import (
    check_url,
    engine_options,
    is_empty_file,
    make_atomic,
    reporting,
    to_read,
)
from kdsearch.errors import OutageError, StorageError, StudyDeletedError, UsageError
from kdsearch.outages import OUTAGE_SECONDS, is_busy, is_passing, reason, retrying
from kdsearch.store.queue import retry
from kdsearch.store.rows import (
    KEYS,
    from_intermediate,
    intermediate_values,
    params,
    read_trials,
    system_attributes,
    user_attributes,
    writing,
)
from kdsearch.store.schema import NOTHING_HERE, check_tables, create_tables
from kdsearch.urls import cleaned, masked

HEARTBEATS = text(
    "SELECT trial_id, heartbeat FROM trial_heartbeats "
    "WHERE trial_id IN (SELECT trial_id FROM trials WHERE state = 'RUNNING')"
)

T = TypeVar("T")


def grace_seconds() -> int:
    """How long a worker may be silent before its trial is taken over: `KDSEARCH_GRACE`, else 60."""
    given = os.environ.get("KDSEARCH_GRACE", "60")
    if not given.isdecimal() or int(given) < 1:
        raise UsageError(f"KDSEARCH_GRACE={given!r}: must be a whole number of seconds, 1 or more")
    return int(given)


class StudyStorage(RDBStorage):
    """An RDBStorage that repeats each call on lost connections and locks, for up to `patience` seconds.

    Then, or where it would not pass with time, a call raises StorageError, and StudyDeletedError where the
    study or the trial that it is about is gone. If `reading`, SQLite's write lock is not waited for.
    """

    def __init__(
        self,
        url: str,
        *,
        patience: float = OUTAGE_SECONDS,
        check: bool = True,
        reading: bool = False,
    ) -> None:
        self.retrying = retrying(patience)
        grace = grace_seconds()
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", ExperimentalWarning
            )  # the heartbeat has been experimental since 2021
            # Unchecked, another process has just opened it: where it does not answer, it is away.
            passing = retry_if_exception(is_busy) if check else self.retrying.retry
            self.retrying.copy(retry=passing)(
                super().__init__,
                url=url,
                engine_kwargs=engine_options(url),
                heartbeat_interval=max(1, grace // 6),
                grace_period=grace,
                heartbeat_stale_trial_callback=retry,
                skip_table_creation=True,
                skip_compatibility_check=not check,
            )
        make_atomic(self.engine, reading=reading)
        self._reader = to_read(self.engine)
        self._writing = {table: writing(self.engine.dialect.name, table) for table in KEYS}

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        lacked = {"study": study_id, "newer_than": trial_id_greater_than, "besides": list(included_trial_ids)}
        with self._reader.begin() as connection:
            found = read_trials(connection, lacked)
        if not found:  # Optuna raises where the study is gone
            return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        return [trial for trial in found if states is None or trial.state in states]

    def _write(self, table: Table, **row: Any) -> bool:
        """Whether the row was written: Optuna knows why not."""
        with self.engine.begin() as connection:
            return connection.execute(self._writing[table], row).rowcount == 1

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        if not self._write(user_attributes, trial_id=trial_id, key=key, value_json=json.dumps(value)):
            super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        if not self._write(system_attributes, trial_id=trial_id, key=key, value_json=json.dumps(value)):
            super().set_trial_system_attr(trial_id, key, value)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """As Optuna's."""
        value, kind = from_intermediate(intermediate_value)
        row = {"step": step, "intermediate_value": value, "intermediate_value_type": kind}
        if not self._write(intermediate_values, trial_id=trial_id, **row):
            super().set_trial_intermediate_value(trial_id, step, intermediate_value)

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        if previous_distribution:
            check_distribution_compatibility(previous_distribution, distribution)
            row = {
                "param_value": param_value_internal,
                "distribution_json": distribution_to_json(distribution),
            }
            if self._write(params, trial_id=trial_id, param_name=param_name, **row):
                return
        super()._set_trial_param(
            trial_id, param_name, param_value_internal, distribution, previous_distribution
        )

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """A change that was applied before the connection broke counts as made."""
        repeated = False

        def change() -> bool:
            nonlocal repeated
            try:
                return super(StudyStorage, self).set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                if not repeated:
                    raise
                return True
            except Exception as error:
                repeated = is_passing(error)
                raise

        return self._repeat(change)

    def get_study_id_from_name(self, study_name: str) -> int:
        """As Optuna's: KeyError is the answer to whether there is such a study."""
        with reporting(self.url):
            return self.retrying(super().get_study_id_from_name, study_name)

    def record_heartbeat(self, trial_id: int) -> None:
        """As Optuna's, but what fails is left to the next beat: an error would end the thread that beats."""
        with suppress(StorageError, StudyDeletedError):
            self._repeat(super().record_heartbeat, trial_id)

    def heartbeats(self) -> dict[int, datetime | str]:
        """When each running trial's worker was last heard of, by trial id; only differences mean anything."""
        return self._repeat(self._heartbeats)

    def _heartbeats(self) -> dict[int, datetime | str]:
        with self._reader.begin() as connection:
            return {row.trial_id: row.heartbeat for row in connection.execute(HEARTBEATS)}

    def _repeat(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        with reporting(self.url):
            try:
                return self.retrying(call, *args, **kwargs)
            except (KeyError, ValueError) as error:
                if NOT_FOUND_MSG not in error.args:
                    raise
                raise StudyDeletedError from None


def _repeating(call: Callable[..., T]) -> Callable[..., T]:
    def repeated(self: StudyStorage, *args: Any, **kwargs: Any) -> T:
        return self._repeat(call, self, *args, **kwargs)

    return repeated


REPEATED = """_create_new_trial _get_best_trial_id _get_stale_trial_ids _get_trials _set_trial_param
create_new_study delete_study get_all_studies get_study_directions get_study_name_from_id
get_study_system_attrs get_study_user_attrs get_trial get_trial_id_from_study_id_trial_number
set_study_system_attr set_study_user_attr set_trial_intermediate_value set_trial_system_attr
set_trial_user_attr"""

for _name in REPEATED.split():
    setattr(StudyStorage, _name, _repeating(getattr(StudyStorage, _name)))


def open_storage(
    url: str,
    *,
    create: bool = False,
    check: bool = True,
    reading: bool = False,
    patience: float = OUTAGE_SECONDS,
) -> StudyStorage:
    """The storage at `url`; `create` makes its tables first, one process at a time.

    `check` compares the version of its tables with Optuna's; without it, one that is away is waited for. One
    that is busy always is. Raises StorageError where the database cannot be reached, UsageError where the URL
    is none.
    """
    check_url(url)
    try:
        if create:
            create_tables(url)
        elif check:
            retrying(patience).copy(retry=retry_if_exception(is_busy))(check_tables, url)
        return StudyStorage(url, patience=patience, check=check, reading=reading)
    except (
        SQLAlchemyError,
        StorageInternalError,
        OSError,
        RuntimeError,
    ) as error:  # the last: another Optuna's tables
        said = cleaned(reason(error), url)
        kind = OutageError if is_passing(error) else StorageError
        raise kind(f"--storage {masked(url)}: cannot be opened: {said}") from None


def open_existing(url: str, *, reading: bool = True) -> StudyStorage:
    """As `open_storage`, for commands that create nothing: a SQLite file that is not there is not made.

    Raises UsageError then, and where the file is empty.
    """
    check_url(url)
    database = make_url(url).database
    missing = url.startswith("sqlite") and not Path(str(database)).exists()
    if missing or is_empty_file(url):
        raise UsageError(f"{database}: {'' if missing else 'an empty file, '}{NOTHING_HERE}")
    return open_storage(url, reading=reading)
