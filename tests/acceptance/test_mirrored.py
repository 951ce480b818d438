"""What MLflow has after a search that it missed."""

import pytest
from mlflow import MlflowClient

from kdsearch import api
from kdsearch.run.preparing import prepare
from kdsearch.run.protocol import Channel, Request
from kdsearch.store.facts import keep, study_facts


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


class Unheard(Channel):
    """Nobody listens."""

    def __init__(self):
        pass

    def send(self, message):
        pass


def test_commands_look_where_the_latest_run_was_mirrored(small, monkeypatch):
    monkeypatch.chdir(small.folder)
    small.write(epochs=1)
    small.run(1)
    server, local = "http://127.0.0.1:9", "sqlite:///other.db"
    page = f"{server}/#/experiments/1/runs"

    def compared(study="small.toml", **given):
        values = {"run.trials": 1, "run.storage": small.url}
        values |= {f"run.{name}": value for name, value in given.items()}
        prepare(Request(study=study, values=values, join=study == "small"), Unheard())
        return api.status("small", storage=small.url).compare, study_facts(small.study).tracking_uri

    assert compared(tracking_uri=server) == (server, server)
    keep(small.study, comparison=page)
    assert compared("small") == (page, server)  # a worker that joins mirrors nothing
    assert compared(tracking_uri=local) == ("kdsearch ui small", local)
    assert compared(tracking_uri=server) == (server, server)
    keep(small.study, comparison=page)
    assert compared() == ("kdsearch ui small", None)
