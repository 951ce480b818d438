"""MLflow's app over a store, for uvicorn: what `mlflow server` runs, with one import of MLflow, not two."""

import os

from fastapi import FastAPI
from mlflow.server import constants, fastapi_app
from mlflow.server.handlers import initialize_backend_stores

from kdsearch.mirror.store import open_client

ARTIFACTS = {  # MLflow's own defaults; only what a tracking server logs goes there
    constants.SERVE_ARTIFACTS_ENV_VAR: "true",
    constants.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
    constants.ARTIFACTS_DESTINATION_ENV_VAR: "./mlartifacts",
}


def app() -> FastAPI:
    """The app over the store MLFLOW_BACKEND_STORE_URI, which is made where it is new."""
    uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
    open_client(uri)  # under kdsearch's lock; MLflow then finds nothing to make
    os.environ.update(ARTIFACTS | {constants.BACKEND_STORE_URI_ENV_VAR: uri})
    initialize_backend_stores(uri, uri, ARTIFACTS[constants.ARTIFACT_ROOT_ENV_VAR])
    served: FastAPI = fastapi_app.app
    return served
