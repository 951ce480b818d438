"""The URI of MLflow's store or server."""

import os
from pathlib import Path
from shlex import quote

from kdsearch.errors import UsageError
from kdsearch.urls import masked

DEFAULT_URI = "sqlite:///mlflow.db"  # where `mlflow ui`, started in the same folder, looks
KNOWN_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks", "uc")


def tracking_uri(given: str | None) -> str:
    """`given`, else MLFLOW_TRACKING_URI, else DEFAULT_URI. Raises UsageError where it is no store."""
    uri = given or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme not in KNOWN_SCHEMES:
        raise UsageError(
            f"--tracking-uri {masked(uri)}: not the URI of an MLflow store; "
            f"write {DEFAULT_URI} or http://HOST:5000"
        )
    return uri


def how_to_compare(uri: str | None, page: str | None, study: str) -> str:
    """Where a study's trials at `uri` are compared: `page`, if it is one of that server; else what opens it.

    Without a `uri`, which a study does not keep where the environment names it, `page` is believed.
    """
    if uri is None:
        return page or f"kdsearch ui {quote(study)}"
    if not uri.startswith("http"):
        return f"kdsearch ui {quote(study)}"
    server = masked(uri).rstrip("/")
    return page if page and page.startswith(f"{server}/#") else server


def is_default(uri: str) -> bool:
    """Whether MLflow's client uses this URI by default in this folder."""
    told = os.environ.get("MLFLOW_TRACKING_URI")
    return whole(uri) == whole(told or DEFAULT_URI) and bool(told or not _has_old_store())


def whole(uri: str) -> str:
    """`uri`, the path of an SQLite file made absolute, so that it holds in any folder."""
    scheme, slashes, path = uri.partition(":///")
    return f"{scheme}{slashes}{Path(path).absolute()}" if scheme == "sqlite" and path else uri


def _has_old_store() -> bool:
    return any(Path("mlruns").glob("*/meta.yaml"))
