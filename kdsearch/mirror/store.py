"""MLflow's client, and its store if that is a SQLite file: made whole, by one process at a time.

MLflow makes and migrates such a file in a hundred steps, without a lock, each step committed by itself: a
second opener, or a kill within the first seconds, leaves a file that no later MLflow opens. Here the steps
are done in a copy, which then goes into the file in one transaction; four times as fast, besides.
"""

import sqlite3
import time
from contextlib import ExitStack, closing
from importlib import import_module
from pathlib import Path
from typing import Any

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from mlflow.version import VERSION
from sqlalchemy import StaticPool, create_engine

from kdsearch.mirror.uri import MirrorUnavailableError, sqlite_file, tables_of

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
QUIET_SECONDS = 5.0  # without a write, until a store that is not whole is taken to be nobody's work any more
LOOKS = 12  # at a store that others write to
RETRIES = 2  # of MLflow at a database that refuses; its own ten take 100 seconds
BOOKKEEPING = {"alembic_version", "workspaces"}  # whose rows the making itself writes


def open_client(uri: str) -> MlflowClient:
    """The client for `uri`. Raises MirrorUnavailableError, or whatever MLflow raises."""
    if not uri.startswith(DATABASES):
        return MlflowClient(uri)
    database: Any = import_module("mlflow.store.db.utils")  # a second long, and not needed for a server
    database.MAX_RETRY_COUNT = RETRIES
    with ExitStack() as stack:
        if path := sqlite_file(uri):
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(path.with_name(f".{path.name}.lock")))
            _make_whole(path, database)
        return MlflowClient(uri)  # opens the store, and writes the first rows of a new one


def version_at(uri: str) -> str:
    """The version of the MLflow that shows the store `uri`: a server's own word, else the installed one's.

    Whatever a server answers that has no such word. Raises whatever MLflow raises.
    """
    if not uri.startswith("http"):
        return str(VERSION)
    credentials = get_default_host_creds(uri)  # type: ignore[no-untyped-call]
    return str(http_request(credentials, "/version", "GET").text)  # type: ignore[no-untyped-call]


def _make_whole(path: Path, database: Any) -> None:
    """Makes the store, or brings it to the tables of this MLflow if some are missing."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as file:
        for _ in range(LOOKS):
            seen = _version(file)
            if _is_whole(file, database):
                return
            if tables_of(file):
                time.sleep(QUIET_SECONDS)  # `mlflow ui` may be making it, without our lock
                if _version(file) != seen:
                    continue
            with closing(_migrated(file, path, database)) as copy:
                if _version(file) == seen:
                    copy.backup(file)
    raise MirrorUnavailableError(f"MLflow's store {path}: another program is changing its tables")


def _version(file: sqlite3.Connection) -> int:
    """Another number once another connection has written."""
    return int(file.execute("PRAGMA data_version").fetchone()[0])


def _is_whole(file: sqlite3.Connection, database: Any) -> bool:
    """Whether nothing is to be done; all tables, but of another version, are MLflow's to refuse."""
    tables = tables_of(file)
    if "alembic_version" not in tables:
        return False
    revisions = [row[0] for row in file.execute("SELECT version_num FROM alembic_version")]
    if revisions == [database._get_latest_schema_revision()]:
        return True
    return not _is_bare(file) and tables >= set(database.Base.metadata.tables)


def _is_bare(file: sqlite3.Connection) -> bool:
    """Whether no run, experiment or model is in it: a store whose making was broken off."""
    queries = (f'SELECT 1 FROM "{table}" LIMIT 1' for table in tables_of(file) - BOOKKEEPING)  # noqa: S608
    return not any(file.execute(query).fetchone() for query in queries)


def _migrated(file: sqlite3.Connection, path: Path, database: Any) -> sqlite3.Connection:
    """A whole store with what is in `file`, in memory or in a temporary file, as its size has it."""
    copy = sqlite3.connect("", check_same_thread=False)
    if not _is_bare(file):
        file.backup(copy)
    engine = create_engine("sqlite://", creator=lambda: copy, poolclass=StaticPool)
    try:
        database._initialize_tables(engine)
    except Exception as error:  # alembic's own, SQLAlchemy's, and what a step may raise
        copy.close()
        reason = str(error).partition("\n")[0]
        raise MirrorUnavailableError(
            f"MLflow's store {path} lacks tables and cannot get them ({reason}), since a migration was "
            "interrupted; move the file away, and kdsearch makes a new one"
        ) from error
    return copy
