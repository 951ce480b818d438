"""From a URL to an engine that several processes may write through."""

import re
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from kdsearch.errors import StorageError, UsageError

OUTAGE_SECONDS = 300  # how long work waits for a database that went away

LOST: tuple[type[Exception], ...] = (DBAPIError,)
KNOWN = ("sqlite", "postgresql")


def retrying(lost: tuple[type[Exception], ...] = LOST) -> Retrying:
    """Repeats a call on lost connections and locks for up to OUTAGE_SECONDS, then raises its last error."""
    return Retrying(
        retry=retry_if_exception_type(lost),
        wait=wait_random_exponential(0.1, max=5),
        stop=stop_after_delay(OUTAGE_SECONDS),
        reraise=True,
    )


def masked(url: str) -> str:
    """The URL without its password, for people and logs; also where the password should have been escaped."""
    try:
        return make_url(re.sub(r"(//[^:/@]*):.*@", r"\1:***@", url)).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "(not a database URL)"


def check_url(url: str) -> None:
    """Raises UsageError where `url` is no database for kdsearch, StorageError where its driver is missing."""
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
    """Said at once: SQLite's own error cannot be told from a lock, and would be waited for."""
    if path in (None, "", ":memory:"):
        raise UsageError(
            "--storage sqlite: names no file, which several processes need; write sqlite:///FILE"
        )
    if not (folder := Path(str(path)).parent).is_dir():
        raise UsageError(f"--storage {path}: there is no folder {folder}; make it first")


def engine_options(url: str) -> dict[str, Any]:
    """Keyword arguments for `create_engine`: a long busy timeout, or a small pool of checked connections."""
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": 60}}
    return {"pool_size": 2, "max_overflow": 3, "pool_pre_ping": True, "hide_parameters": True}


def make_atomic(engine: Engine) -> None:
    """Makes each SQLite transaction take the write lock first: otherwise two workers pop one waiting trial.

    Does nothing on other databases, whose transactions are atomic as they come.
    """
    if engine.dialect.name != "sqlite":
        return
    engine.dispose()

    @event.listens_for(engine, "connect")
    def own_transactions(connection: DBAPIConnection, _: object) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def open_engine(url: str) -> Engine:
    """The engine of a study's database. Raises as `check_url`; connects on first use only."""
    check_url(url)
    engine = create_engine(url, **engine_options(url))
    make_atomic(engine)
    return engine
