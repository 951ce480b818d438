"""A search whose MLflow server is stopped and started again in the middle."""

import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from kdsearch.search.mirroring import MirrorThread
from kdsearch.search.slots import FINISHED
from kdsearch.tracking.mirror import Mirror
from tests.servers import mlflow_server, wait_until


@pytest.fixture
def server(tmp_path):
    with mlflow_server(tmp_path) as server:
        yield server


@pytest.fixture
def said():
    return []


@pytest.mark.mlflow
@pytest.mark.slow
def test_the_search_does_not_notice_and_the_mirror_catches_up(create, worker, server, url, said):
    study = create(2)
    mirror = MirrorThread(Mirror, server.uri, url, "small", said.append)
    mirror.start()
    worker().work()
    wait_until(lambda: mirror.run_id(1, 0), "two runs")

    server.kill()
    study.set_user_attr("target", 4)
    worker().work()
    wait_until(lambda: said, "a tick that fails")
    assert len(said) == 1
    assert said[0].startswith(f"MLflow at {server.uri}: ")

    server.start()
    study.set_user_attr("target", 5)
    worker().work()
    assert mirror.finish("FINISHED", lambda: False)
    assert len(said) == 1
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5
    assert runs_of(server) == {
        f"trial {trial.number}": trial.value for trial in study.trials if trial.state in FINISHED
    }


def runs_of(server):
    """The final accuracy of each trial's run, by name."""
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("small")
    runs = client.search_runs([experiment.experiment_id])
    return {
        run.info.run_name: pytest.approx(run.data.metrics["final_accuracy"])
        for run in runs
        if "final_accuracy" in run.data.metrics
    }
