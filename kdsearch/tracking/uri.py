"""Where the runs go."""

import os
from pathlib import Path

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
            f"--tracking-uri {masked(uri)}: MLflow keeps no runs there; "
            f"write {DEFAULT_URI} or http://HOST:5000"
        )
    return uri


def how_to_compare(uri: str) -> str:
    """What to type, or to open, to see the runs at `uri`.

    Plain `mlflow ui` opens the folder's mlflow.db, but not beside an mlruns folder of MLflow's old store.
    """
    if uri.startswith("http"):
        return masked(uri)
    if uri == DEFAULT_URI and not any(Path("mlruns").glob("*/meta.yaml")):
        return "mlflow ui"
    return f"mlflow ui --backend-store-uri {masked(uri)}"
