"""MLflow's store where it is a SQLite file of this machine. Knows no MLflow."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from kdsearch.errors import UsageError
from kdsearch.files import check_writable

CURE = "let --tracking-uri name another file, or a server"


def sqlite_file(uri: str) -> Path | None:
    """The file that a tracking URI means, where it is one."""
    try:
        url = make_url(uri)
    except (ArgumentError, ValueError):
        return None
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return None if url.database.startswith((":memory:", "file:")) else Path(url.database)


def tables_of(file: sqlite3.Connection) -> set[str]:
    """The names of a database's tables."""
    return {row[0] for row in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def check_store(uri: str, storage: str = "") -> None:
    """Raises UsageError where `uri` is a file that MLflow could not use, or the study's `storage`.

    A server may be away for a while.
    """
    path, study = sqlite_file(uri), sqlite_file(storage)
    if path and study and path.resolve() == study.resolve():
        raise UsageError(f"--tracking-uri {path}: is the study's own database; {CURE}")
    if path is None:
        if uri.startswith("sqlite"):
            raise UsageError(f"--tracking-uri {uri}: names no file, which several processes need; {CURE}")
        return
    check_writable(path.parent, CURE)
    if not path.exists():
        return
    try:
        with path.open("r+b"), closing(sqlite3.connect(path, timeout=60)) as file:
            tables = tables_of(file)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written to ({error.strerror}); {CURE}") from None
    except sqlite3.Error as error:
        raise UsageError(f"{path}: is not an MLflow store ({error}); {CURE}") from None
    if tables and "experiments" not in tables:
        raise UsageError(f"{path}: is a database, but not an MLflow store; {CURE}")
