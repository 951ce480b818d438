"""A study's record, mirrored in MLflow; no other package imports MLflow.

MLflow reads some of its settings when it is imported, so they are made here, before any module of this folder
can do that; what the user has set stays. No telemetry; no log lines and no links, since the mirror
reports failures itself, in one line; and a call to a server that is away fails soon instead of after four
minutes, since the mirror comes again anyway.
"""

import os

for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}.items():
    os.environ.setdefault(_name, _value)
