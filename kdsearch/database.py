"""From a URL to an engine that several processes may write through."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from kdsearch.errors import OutageError, StorageError, UsageError
from kdsearch.outages import cure, driver_error, is_passing, reason
from kdsearch.urls import cleaned, masked

READING: ContextVar[bool] = ContextVar("reading", default=False)
KNOWN = ("sqlite", "postgresql")
LOCK = "kdsearch_lock"  # execution option: whether a transaction takes SQLite's write lock at its start


def check_url(url: str) -> None:
    """Raises UsageError if kdsearch cannot use the database, StorageError if its driver is missing."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise UsageError(
            "--storage: not a database URL; write sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
        ) from None
    if "@" in (parsed.database or "") and parsed.host:
        raise UsageError(
            f"--storage {masked(url)}: percent-encode @ : / % in the password, or give it as PGPASSWORD"
        )
    if parsed.get_backend_name() not in KNOWN:
        raise UsageError(f"--storage {masked(url)}: unknown database; known: {', '.join(KNOWN)}")
    try:
        parsed.get_dialect().import_dbapi()
    except (NoSuchModuleError, ModuleNotFoundError):
        raise StorageError(
            f"--storage {masked(url)}: its driver is missing; write postgresql+psycopg://..., "
            'and pip install "kdsearch[postgres]"'
        ) from None
    if parsed.get_backend_name() == "sqlite":
        _check_file(parsed.database)


def _check_file(path: str | None) -> None:
    """Raises UsageError at once: SQLite's own error looks like a lock, which is waited for."""
    if path in (None, "", ":memory:"):
        raise UsageError(
            "--storage sqlite: names no file, which several processes need; write sqlite:///FILE"
        )
    if not (folder := Path(str(path)).parent).is_dir():
        raise UsageError(f"--storage {path}: there is no folder {folder}; create it first")


def engine_options(url: str) -> dict[str, Any]:
    """Keyword arguments for `create_engine`: a long busy timeout, or a small pool of checked connections."""
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": 60}}
    return {"pool_size": 1, "max_overflow": 1, "pool_pre_ping": True, "hide_parameters": True}


def make_atomic(engine: Engine, *, reading: bool = False) -> None:
    """Makes each SQLite transaction take the write lock first: otherwise two workers pop one waiting trial.

    This does not hold for transactions of `to_read` or in `reading_only`, nor for any if `reading`: a reader
    waits for no writer. Other databases are not changed, since their transactions are atomic anyway.
    """
    if engine.dialect.name != "sqlite":
        return
    engine.dispose()

    @event.listens_for(engine, "connect")
    def own_transactions(connection: DBAPIConnection, _: object) -> None:
        connection.isolation_level = None
        # Foreign keys: a heartbeat of a trial that somebody deleted would leave a row of no trial.
        for pragma in () if reading else ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        locking = connection.get_execution_options().get(LOCK, not (reading or READING.get()))
        connection.exec_driver_sql("BEGIN IMMEDIATE" if locking else "BEGIN")


@contextmanager
def reading_only() -> Iterator[None]:
    """No transaction that begins in the block takes SQLite's write lock, unless it is one of `to_write`."""
    token = READING.set(True)
    try:
        yield
    finally:
        READING.reset(token)


def to_read(engine: Engine) -> Engine:
    """The engine, for transactions that only read."""
    return engine.execution_options(**{LOCK: False})


def to_write(engine: Engine) -> Engine:
    """The engine, for transactions that write."""
    return engine.execution_options(**{LOCK: True})


def open_engine(url: str, *, reading: bool = False) -> Engine:
    """The engine of a study's database. Raises as `check_url`; connects on first use only."""
    check_url(url)
    engine = create_engine(url, **engine_options(url))
    make_atomic(engine, reading=reading)
    return engine


def place(url: str) -> str:
    """The name of the database for error messages: a file, or the URL without its secrets."""
    parsed = make_url(url)
    return str(parsed.database) if parsed.get_backend_name() == "sqlite" else masked(url)


def is_empty_file(url: str) -> bool:
    """Whether `url` names a SQLite file that exists and is empty."""
    path = Path(place(url))
    return url.startswith("sqlite") and path.is_file() and path.stat().st_size == 0


@contextmanager
def reporting(url: str) -> Iterator[None]:
    """Turns errors of the database's driver in the block into a StorageError of one line with the cure.

    If the error may pass with time, it is an OutageError.
    """
    try:
        yield
    except Exception as error:
        if driver_error(error) is None:
            raise
        said = f"{place(url)}: {cleaned(reason(error), url)}"
        if is_passing(error):
            raise OutageError(
                f"{said}; the database did not come back, and the same command resumes"
            ) from None
        raise StorageError(f"{said}; {cure(error)}") from None
