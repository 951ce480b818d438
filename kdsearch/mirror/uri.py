"""MLflow's store or server by its URI: which one it is, and what can be done there. Knows no MLflow."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from shlex import quote

import optuna
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from kdsearch.errors import KdsearchError, UsageError
from kdsearch.files import check_writable
from kdsearch.store.facts import ModelPlace, keep, study_facts
from kdsearch.store.finalists import decided
from kdsearch.store.trials import Trials
from kdsearch.urls import cleaned, masked

DEFAULT_URI = "sqlite:///mlflow.db"  # where `mlflow ui`, started in the same folder, looks
KNOWN_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks", "uc")
CURE = "let --tracking-uri name another file, or a server"


class MirrorUnavailableError(KdsearchError):
    """MLflow does not answer now, or refuses; the next tick makes up for it."""


def tracking_uri(given: str | None) -> str:
    """`given`, else MLFLOW_TRACKING_URI, else DEFAULT_URI. Raises UsageError if it is no store."""
    uri = given or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme not in KNOWN_SCHEMES:
        raise UsageError(
            f"--tracking-uri {masked(uri)}: not the URI of an MLflow store; "
            f"write {DEFAULT_URI} or http://HOST:5000"
        )
    return uri


def sqlite_file(uri: str) -> Path | None:
    """The file that a tracking URI means, if it is one."""
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
    """Raises UsageError if `uri` is a file that MLflow could not use, or the study's `storage`.

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


@contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Raises MirrorUnavailableError, one line without passwords, for all that MLflow raises in the block.

    Whatever that is: its own errors, SQLAlchemy's, alembic's, those of drivers and of servers that answer
    something else. No list of them is complete.
    """
    try:
        yield
    except KdsearchError:
        raise
    except Exception as error:
        raise MirrorUnavailableError(f"MLflow at {masked(uri)}: {one_line(error, uri)}") from error


def one_line(error: Exception, uri: str | None) -> str:
    """What an error of a library says, without secrets; its name if it says nothing."""
    line = str(error).strip().partition("\n")[0]
    return cleaned(line, uri)[:200] or type(error).__name__


def how_to_compare(uri: str | None, page: str | None, study: str) -> str:
    """Where a study's trials at `uri` are compared: `page`, if it is one of that server; else what opens it.

    Without a `uri`, which a study does not keep if the environment names it, `page` is believed.
    """
    if uri is None:
        return page or f"kdsearch ui {quote(study)}"
    if not uri.startswith("http"):
        return f"kdsearch ui {quote(study)}"
    server = masked(uri).rstrip("/")
    return page if page and page.startswith(f"{server}/#") else server


def keep_model(study: optuna.Study, trial: int, tracking_uri: str, model_uri: str) -> None:
    """Keeps that the model of trial number `trial` is in MLflow; of the address not its password."""
    tracking = masked(whole(tracking_uri))
    keep(study, model=ModelPlace(trial=trial, tracking_uri=tracking, uri=model_uri))


def how_to_load(study: optuna.Study) -> tuple[str, ...]:
    """Python that loads the best trial's model and asks it; nothing if MLflow is not known to have it."""
    kept, finalists, best = study_facts(study).model, decided(study), Trials.of(study).best
    winner = finalists.winner.trial if finalists else best.number if best else None
    if kept is None or kept.trial != winner:
        return ()
    lines = (f'model = mlflow.pyfunc.load_model("{kept.uri}")', "model.predict(images)")
    if is_default(kept.tracking_uri):
        return lines
    return (f'mlflow.set_tracking_uri("{kept.tracking_uri}")', *lines)


def is_default(uri: str) -> bool:
    """Whether MLflow's client uses this URI by default in this folder."""
    named = os.environ.get("MLFLOW_TRACKING_URI")
    has_old_store = any(Path("mlruns").glob("*/meta.yaml"))  # where MLflow's client would look first
    return whole(uri) == whole(named or DEFAULT_URI) and bool(named or not has_old_store)


def whole(uri: str) -> str:
    """`uri`, the path of an SQLite file made absolute, so that it holds in any folder."""
    scheme, slashes, path = uri.partition(":///")
    return f"{scheme}{slashes}{Path(path).absolute()}" if scheme == "sqlite" and path else uri
