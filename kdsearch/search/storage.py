"""Optuna's storage, whose calls outlive a database that goes away for a while."""

import json
import os
import warnings
from collections.abc import Callable, Container, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
)
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Table, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from tenacity import stop_after_delay

from kdsearch.database import (
    OUTAGE_SECONDS,
    check_url,
    engine_options,
    make_atomic,
    masked,
    open_engine,
    retrying,
)
from kdsearch.errors import StorageError, UsageError
from kdsearch.search.rows import (
    KEYS,
    from_intermediate,
    intermediate_values,
    params,
    read_trials,
    system_attributes,
    user_attributes,
    writing,
)
from kdsearch.search.waiting import retry

LOST = (StorageInternalError, DBAPIError)
ADVISORY_LOCK = 5_201_314  # any constant: those who create the tables take it in turn
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
    """An RDBStorage that repeats each call on lost connections and locks, for up to `patience` seconds."""

    def __init__(
        self, url: str, *, patience: float = OUTAGE_SECONDS, create: bool = False, check: bool = True
    ) -> None:
        self.retrying = retrying(LOST).copy(stop=stop_after_delay(patience))
        grace = grace_seconds()
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", ExperimentalWarning
            )  # the heartbeat has been experimental since 2021
            # Unchecked, another process has just opened it: where it does not answer, it is away.
            open_ = super().__init__ if check else partial(self.retrying, super().__init__)
            open_(
                url=url,
                engine_kwargs=engine_options(url),
                heartbeat_interval=max(1, grace // 6),
                grace_period=grace,
                heartbeat_stale_trial_callback=retry,
                skip_table_creation=not create,
                skip_compatibility_check=not check,
            )
        make_atomic(self.engine)
        self._writing = {table: writing(self.engine.dialect.name, table) for table in KEYS}

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        lacked = {"study": study_id, "newer_than": trial_id_greater_than, "besides": list(included_trial_ids)}
        with self.engine.begin() as connection:
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
        for attempt in self.retrying:
            with attempt:
                try:
                    return super().set_trial_state_values(trial_id, state, values)
                except UpdateFinishedTrialError:
                    if not repeated:
                        raise
                except LOST:
                    repeated = True
                    raise
        return True

    def heartbeats(self) -> dict[int, datetime | str]:
        """When each running trial's worker was last heard of, by trial id; only differences mean anything."""
        return self.retrying(self._heartbeats)

    def _heartbeats(self) -> dict[int, datetime | str]:
        with self.engine.begin() as connection:
            return {row.trial_id: row.heartbeat for row in connection.execute(HEARTBEATS)}


def _repeating(call: Callable[..., T]) -> Callable[..., T]:
    def repeated(self: StudyStorage, *args: Any, **kwargs: Any) -> T:
        return self.retrying(call, self, *args, **kwargs)

    return repeated


REPEATED = """_create_new_trial _get_best_trial_id _get_stale_trial_ids _get_trials _set_trial_param
create_new_study get_all_studies get_study_directions get_study_id_from_name get_study_name_from_id
get_study_system_attrs get_study_user_attrs get_trial get_trial_id_from_study_id_trial_number record_heartbeat
set_study_system_attr set_study_user_attr set_trial_intermediate_value set_trial_system_attr
set_trial_user_attr"""

for _name in REPEATED.split():
    setattr(StudyStorage, _name, _repeating(getattr(StudyStorage, _name)))


def open_storage(
    url: str, *, create: bool = False, check: bool = True, patience: float = OUTAGE_SECONDS
) -> StudyStorage:
    """The storage at `url`; `create` makes its tables first, one process at a time.

    `check` compares the version of its tables with Optuna's; without it, one that is away is waited for.
    Raises StorageError where the database cannot be reached, UsageError where the URL is none.
    """
    check_url(url)
    try:
        if create:
            _create_tables(url)
        return StudyStorage(url, patience=patience, check=check)
    except (
        SQLAlchemyError,
        StorageInternalError,
        OSError,
        RuntimeError,
    ) as error:  # the last: another Optuna's tables
        cause = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None) or error
        reason = str(cause).strip().splitlines()[0]
        raise StorageError(f"--storage {masked(url)}: cannot be opened: {reason}") from None


def open_existing(url: str) -> StudyStorage:
    """As `open_storage`, for commands that only look: a SQLite file that is not there is not made.

    Raises UsageError then.
    """
    check_url(url)
    database = make_url(url).database
    if url.startswith("sqlite") and database and not Path(database).exists():
        raise UsageError(
            f"{database}: no study here yet; 'kdsearch run' creates one, --storage names another database"
        )
    return open_storage(url)


def _create_tables(url: str) -> None:
    engine = open_engine(url)
    try:
        if engine.dialect.name == "postgresql":
            with engine.connect() as connection:
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
                StudyStorage(url, create=True).engine.dispose()
        elif engine.url.database:
            with FileLock(f"{Path(engine.url.database).resolve()}.lock"):  # one, whatever leads to the file
                StudyStorage(url, create=True).engine.dispose()
    finally:
        engine.dispose()
