"""What MLflow has after a search that it missed."""

import pytest
from mlflow import MlflowClient

from kdsearch import api


@pytest.mark.slow
def test_the_run_of_a_finished_study_brings_mlflow_up_to_date(small, monkeypatch):
    monkeypatch.chdir(small.folder)  # MLflow's files go there
    small.write(epochs=1)
    small.run(1)
    uri = f"sqlite:///{small.folder / 'mlflow.db'}"
    values = {"run.trials": 1, "run.workers": "1", "run.storage": small.url, "run.tracking_uri": uri}
    first, second = (api.run("small.toml", values=values) for _ in range(2))
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("small").experiment_id
    runs = client.search_runs([experiment])
    found = {run.data.tags.get("trial", run.info.run_name): run for run in runs}
    assert {name: run.info.status for name, run in found.items()} == dict.fromkeys(
        ["small", "teacher", "0"], "FINISHED"
    )
    assert found["0"].outputs.model_outputs
    assert "model to MLflow" in first.seconds
    assert "model to MLflow" not in second.seconds  # it is there
