"""Optuna's storage, whose calls outlive a database that goes away for a while.

The only module that names what is private in Optuna's storages.
"""

import os
import warnings
from abc import update_abstractmethods
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages._rdb.models import NOT_FOUND_MSG
from optuna.trial import TrialState
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from tenacity import retry_if_exception

from kdsearch.database import (
    check_url,
    engine_options,
    is_empty_file,
    make_atomic,
    reading_only,
    reporting,
    to_read,
)
from kdsearch.errors import OutageError, StorageError, StudyDeletedError, UsageError
from kdsearch.outages import OUTAGE_SECONDS, is_busy, is_passing, reason, retrying
from kdsearch.store.queue import retry
from kdsearch.store.schema import NOTHING_HERE, check_tables, create_tables
from kdsearch.urls import cleaned, masked

READS = ("get_", "_get_")  # how the names of calls begin that change nothing
HEARTBEATS = text(
    "SELECT trial_id, heartbeat FROM trial_heartbeats "
    "WHERE trial_id IN (SELECT trial_id FROM trials WHERE state = 'RUNNING')"
)

T = TypeVar("T")


def grace_seconds() -> int:
    """How long a worker may be silent before its trial is taken over: `KDSEARCH_GRACE`, else 60."""
    seconds = os.environ.get("KDSEARCH_GRACE", "60")
    if not seconds.isdecimal() or int(seconds) < 1:
        raise UsageError(f"KDSEARCH_GRACE={seconds!r}: must be a whole number of seconds, 1 or more")
    return int(seconds)


class StudyStorage(BaseStorage, BaseHeartbeat):
    """Optuna's RDBStorage behind Optuna's cache; each call is repeated on lost connections and locks.

    For up to `patience` seconds. Then, or if it would not pass with time, a call raises StorageError, and
    StudyDeletedError if the study or the trial that it is about is gone. What only reads does not wait for
    SQLite's write lock; nothing does if `reading`.
    """

    def __init__(
        self, url: str, *, patience: float = OUTAGE_SECONDS, check: bool = True, reading: bool = False
    ) -> None:
        self.url, self.retrying = url, retrying(patience)
        grace = grace_seconds()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # the heartbeat's, since 2021
            # Unchecked, another process has just opened it: if it does not answer, it is away.
            passing = retry_if_exception(is_busy) if check else self.retrying.retry
            database = self.retrying.copy(retry=passing)(
                RDBStorage,
                url=url,
                engine_kwargs=engine_options(url),
                heartbeat_interval=max(1, grace // 6),
                grace_period=grace,
                heartbeat_stale_trial_callback=retry,
                skip_table_creation=True,
                skip_compatibility_check=not check,
            )
        make_atomic(database.engine, reading=reading)
        self.engine: Engine = database.engine
        self._cached = _CachedStorage(database)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """A change that was applied before the connection broke counts as made."""
        repeated = False

        def change() -> bool:
            nonlocal repeated
            try:
                return self._cached.set_trial_state_values(trial_id, state, values)
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
        with reporting(self.url), reading_only():
            return self.retrying(self._cached.get_study_id_from_name, study_name)

    def record_heartbeat(self, trial_id: int) -> None:
        """As Optuna's, but what fails is left to the next beat: an error would end the thread that beats."""
        with suppress(OutageError, StorageError, StudyDeletedError):
            self._repeat(self._cached.record_heartbeat, trial_id)

    def heartbeats(self) -> dict[int, datetime | str]:
        """When each running trial's worker was last heard of, by trial id; only differences mean anything."""
        return self._repeat(self._heartbeats)

    def _heartbeats(self) -> dict[int, datetime | str]:
        with to_read(self.engine).begin() as connection:
            return {row.trial_id: row.heartbeat for row in connection.execute(HEARTBEATS)}

    def _repeat(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        with reporting(self.url):
            try:
                return self.retrying(call, *args, **kwargs)
            except (KeyError, ValueError) as error:
                if NOT_FOUND_MSG not in error.args:
                    raise
                raise StudyDeletedError from None


def _delegated(name: str) -> Callable[..., Any]:
    def call(self: StudyStorage, *args: Any, **kwargs: Any) -> Any:
        with reading_only() if name.startswith(READS) else nullcontext():
            return self._repeat(getattr(self._cached, name), *args, **kwargs)

    return call


# All that Optuna asks of a storage, so that no call goes without the retries.
for _name in StudyStorage.__abstractmethods__:
    setattr(StudyStorage, _name, _delegated(_name))
update_abstractmethods(StudyStorage)  # type: ignore[type-abstract]


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
    that is busy always is. Raises StorageError if the database cannot be reached, UsageError if the URL is
    none.
    """
    check_url(url)
    try:
        if create:
            create_tables(url)
        elif check:
            retrying(patience).copy(retry=retry_if_exception(is_busy))(check_tables, url)
        return StudyStorage(url, patience=patience, check=check, reading=reading)  # type: ignore[abstract]
    except (
        SQLAlchemyError,
        StorageInternalError,
        OSError,
        RuntimeError,
    ) as error:  # another Optuna's tables
        said = cleaned(reason(error), url)
        kind = OutageError if is_passing(error) else StorageError
        raise kind(f"--storage {masked(url)}: cannot be opened: {said}") from None


def open_existing(url: str, *, reading: bool = True) -> StudyStorage:
    """As `open_storage`, for commands that create nothing: a SQLite file that is not there is not made.

    Raises UsageError then, and if the file is empty.
    """
    check_url(url)
    database = make_url(url).database
    missing = url.startswith("sqlite") and not Path(str(database)).exists()
    if missing or is_empty_file(url):
        raise UsageError(f"{database}: {'' if missing else 'an empty file, '}{NOTHING_HERE}")
    return open_storage(url, reading=reading)
