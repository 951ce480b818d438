"""The best trial's model in MLflow.

Only for a child process of its own, since `mlflow.pyfunc` uses MLflow's process-wide settings.
"""

import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import mlflow.pyfunc
from mlflow import MlflowClient
from mlflow.entities import Metric, Run, ViewType
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from kdsearch.mirror.mirrored import MODEL_LAYOUT, is_whole
from kdsearch.mirror.runs import LAYOUT_TAG, STUDY_TAG
from kdsearch.mirror.store import open_client
from kdsearch.mirror.uri import reaching

MODEL_NAME = "student"
CHAMPION = "champion"  # the alias of a registered model's version in use
CODE = Path(__file__).with_name("served.py")
SIZES = ("parameters", "macs")  # metrics of a run that no epoch changes


class ModelFacts(NamedTuple):
    """What the model's page shows, beside the metrics of the run's last epoch."""

    description: str  # Markdown
    params: dict[str, str]  # beside the run's
    metadata: dict[str, Any]  # for programs; JSON
    last_epoch: int
    classes: tuple[str, ...]
    requirements: list[str]  # the packages that `served.py` needs, as pip writes them


class Kept(NamedTuple):
    """The models of a study."""

    uri: str | None  # of the run's, if it can be loaded and is as this version logs it
    stale: tuple[str, ...]  # ids of an older version's, or of those whose logging was broken off


def models_of(uri: str, run_id: str) -> Kept:
    """What the run `run_id` has, and what is left of its study. Raises MirrorUnavailableError."""
    with reaching(uri):
        client = open_client(uri)
        run = client.get_run(run_id)
        experiment = run.info.experiment_id
        own = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
        good = [model.model_uri for model in own if is_whole(model)]
        latest = client.search_logged_models([experiment], f"name = '{MODEL_NAME}'")
        doubtful = [model for model in (*own, *latest) if not is_whole(model)]
        runs = {model.model_id: source for model in doubtful if (source := model.source_run_id)}
        ours = _of_study(client, run, set(runs.values())) if runs else set()
        return Kept(good[0] if good else None, tuple(model for model in runs if runs[model] in ours))


def _of_study(client: MlflowClient, run: Run, run_ids: set[str]) -> set[str]:
    """Which of the runs are of the study that `run` is of; deleted ones too, as the mirror leaves some."""
    listed = ", ".join(f"'{each}'" for each in run_ids)
    where = f"tags.`{STUDY_TAG}` = '{run.data.tags[STUDY_TAG]}' AND attributes.run_id IN ({listed})"
    runs = client.search_runs([run.info.experiment_id], where, ViewType.ALL)
    return {each.info.run_id for each in runs}


def log_model(uri: str, run_id: str, folder: Path, facts: ModelFacts) -> str:
    """Logs `student.onnx` and `config.json` of a temporary folder with the run; returns the model's URI.

    `mlflow.pyfunc.load_model` of that URI gives what `served.ServedStudent` says. Its signature tells the
    output only: MLflow has none that takes whole numbers and floats, channels first and channels last.
    Raises MirrorUnavailableError.
    """
    with reaching(uri):
        client = open_client(uri)
        os.environ["MLFLOW_UV_AUTO_DETECT"] = "false"  # else it adds the folder's uv.lock and pyproject.toml
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment(experiment_id=client.get_run(run_id).info.experiment_id)  # else in "Default"
        info = Model.log(  # as `mlflow.pyfunc.log_model`, which takes no run
            artifact_path=None,
            flavor=mlflow.pyfunc,
            flavor_name="mlflow.pyfunc",
            name=MODEL_NAME,
            python_model=shutil.copy(CODE, folder),  # since MLflow keeps the path for all to read
            artifacts={"network": str(folder / "student.onnx"), "config": str(folder / "config.json")},
            signature=ModelSignature(outputs=_answer(facts.classes)),
            pip_requirements=facts.requirements,
            metadata=facts.metadata,
            params=facts.params,
            tags={"mlflow.note.content": facts.description, "mlflow.source.name": "kdsearch"},
            run_id=run_id,
            step=facts.last_epoch,  # else MLflow links the metrics of step 0
        )
        _link_sizes(client, run_id, info.model_id)
        client.set_logged_model_tags(info.model_id, {LAYOUT_TAG: MODEL_LAYOUT})  # last: now it is whole
        return str(info.model_uri)


def register(uri: str, model_uri: str, name: str, tags: dict[str, str]) -> str:
    """Makes a model the latest version of `name` in the registry, and its CHAMPION; returns the version.

    A model that is a version already stays that one. Raises MirrorUnavailableError.
    """
    with reaching(uri):
        client = open_client(uri)
        model = client.get_logged_model(model_uri.rpartition("/")[-1])
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        known = client.search_model_versions(f"name = '{name}'")
        version = next((each for each in known if each.source == model.artifact_location), None)
        version = version or client.create_model_version(
            name, model.artifact_location, model.source_run_id, tags, model_id=model.model_id
        )
        client.set_registered_model_alias(name, CHAMPION, version.version)
        return str(version.version)


def delete_models(uri: str, model_ids: tuple[str, ...]) -> None:
    """Marks models deleted. Raises MirrorUnavailableError."""
    with reaching(uri):
        for model_id in model_ids:
            open_client(uri).delete_logged_model(model_id)


def _answer(classes: tuple[str, ...]) -> Schema:
    shares = [ColSpec(DataType.double, f"p({name})") for name in classes]
    return Schema([ColSpec(DataType.string, "class"), ColSpec(DataType.double, "probability"), *shares])


def _link_sizes(client: MlflowClient, run_id: str, model_id: str) -> None:
    points = [point for name in SIZES for point in client.get_metric_history(run_id, name)]
    client.log_batch(run_id, [Metric(p.key, p.value, p.timestamp, p.step, model_id=model_id) for p in points])
