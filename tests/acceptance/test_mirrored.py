"""What MLflow has after a search that it missed."""

import pytest
from mlflow import MlflowClient

from kdsearch import api
from kdsearch.search.messages import Channel, Request
from kdsearch.search.preparing import prepare
from kdsearch.search.results import PAGE


@pytest.mark.slow
def test_the_run_of_a_finished_study_brings_mlflow_up_to_date(small, monkeypatch):
    monkeypatch.chdir(small.folder)  # MLflow's files go there
    small.write(epochs=1)
    small.run(1)
    uri = f"sqlite:///{small.folder / 'mlflow.db'}"
    given = api.Overrides(workers="1", storage=small.url, tracking_uri=uri)
    first, second = (api.run("small.toml", trials=1, overrides=given) for _ in range(2))
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
        replaced = {"run.storage": small.url} | {f"run.{name}": value for name, value in given.items()}
        prepare(Request(study=study, trials=1, replaced=replaced, join=study == "small"), Unheard())
        return api.status("small", storage=small.url).compare, small.study.user_attrs["tracking_uri"]

    assert compared(tracking_uri=server) == (server, server)
    small.study.set_user_attr(PAGE, page)
    assert compared("small") == (page, server)  # a worker that joins mirrors nothing
    assert compared(tracking_uri=local) == ("kdsearch ui small", local)
    assert compared(tracking_uri=server) == (server, server)
    small.study.set_user_attr(PAGE, page)
    assert compared() == ("kdsearch ui small", None)
