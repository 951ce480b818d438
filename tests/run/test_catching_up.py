"""`kdsearch sync`, once and followed, and `kdsearch delete`, with an MLflow store in a file."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from mlflow import MlflowClient

from kdsearch import api
from kdsearch.mirror.mirror import Mirror
from kdsearch.mirror.store import open_client
from kdsearch.mirror.uri import MirrorUnavailableError
from kdsearch.run.mirroring import mirror_once
from kdsearch.store.checkpoints import checkpoint_folder
from kdsearch.store.studies import find
from tests.servers import wait_until

NOBODY = "http://127.0.0.1:9"  # no MLflow listens there


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """MLflow's tables with nothing in them: to copy them is faster than to make them."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    open_client(f"sqlite:///{path}")
    return path


@pytest.fixture
def uri(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MLflow's files go there
    shutil.copy(store, tmp_path)
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def runs(uri, study="small"):
    """The runs of a study that are not marked deleted, by the trial's number; other runs by their name."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(study).experiment_id
    return {run.data.tags.get("trial", run.info.run_name): run for run in client.search_runs([experiment])}


def accuracies(found):
    return {
        name: run.data.metrics["final_accuracy"]
        for name, run in found.items()
        if "final_accuracy" in run.data.metrics
    }


@pytest.mark.slow
def test_sync_sends_what_mlflow_has_missed_once(create, worker, url, uri):
    study = create(2)
    worker().work()
    expected = {str(trial.number): pytest.approx(trial.value) for trial in study.trials}
    assert api.sync("small", storage=url, tracking_uri=uri) == "small"
    first = runs(uri)
    assert accuracies(first) == expected
    assert first["small"].info.status == "FINISHED"
    assert [name for name, run in first.items() if run.outputs and run.outputs.model_outputs] == [
        str(study.best_trial.number)
    ]
    assert api.sync(storage=url, tracking_uri=uri) == "small"
    assert {run.info.run_id for run in runs(uri).values()} == {run.info.run_id for run in first.values()}


def test_sync_where_no_mlflow_answers_says_so(create, worker, url):
    create(1)
    worker().work()
    with pytest.raises(MirrorUnavailableError, match=NOBODY):
        api.sync("small", storage=url, tracking_uri=NOBODY)


@pytest.mark.slow
def test_sync_that_follows_sends_what_comes_until_it_is_stopped(create, worker, url, uri, tmp_path):
    study = create(2)
    words = ["sync", "small", "--follow", "--storage", url, "--tracking-uri", uri]
    with subprocess.Popen(
        [sys.executable, "-m", "kdsearch", *words], stderr=subprocess.PIPE, text=True
    ) as sync:
        wait_until(lambda: sync.poll() is not None or has_run(tmp_path / "mlflow.db"), "the study's run")
        worker().work()
        sync.send_signal(signal.SIGTERM)
        assert (sync.communicate()[1], sync.returncode) == ("Error: stopped\n", 143)
    found = runs(uri)
    assert accuracies(found) == {str(trial.number): pytest.approx(trial.value) for trial in study.trials}
    assert found["small"].info.status == "FINISHED"


def has_run(file):
    with closing(sqlite3.connect(file)) as store:
        return store.execute("SELECT count(*) FROM runs").fetchone() != (0,)


@pytest.fixture
def studies(create, worker):
    """Two studies in one database, each with a finished trial and a checkpoint."""
    for name in ("small", "other"):
        create(1, name)
        worker(name=name).work()


def checkpointed(url, name):
    """The folder of a study's checkpoints, with one in it."""
    folder = checkpoint_folder(find(name, url).record)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "slot-0-0.safetensors").write_bytes(b"x")
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("studies")
def test_delete_removes_all_of_a_study_and_nothing_of_another(url, uri, rows_of):
    for name in ("small", "other"):
        mirror_once(Mirror, uri, find(name, url), print)
    (mine, other), both = (checkpointed(url, name) for name in ("small", "other")), rows_of()
    assert api.delete("small", storage=url, tracking_uri=uri) == []
    assert (mine.exists(), [path.name for path in other.iterdir()]) == (False, ["slot-0-0.safetensors"])
    assert runs(uri) == {}
    assert set(runs(uri, "other")) == {"other", "0"}
    left = rows_of()
    assert (both["studies"], left["studies"]) == (2, 1)
    assert {table: both[table] / 2 for table in ("trials", "kdsearch_epochs", "kdsearch_files")} == {
        table: left[table] for table in ("trials", "kdsearch_epochs", "kdsearch_files")
    }
    assert api.delete("other", storage=url, tracking_uri=uri) == []
    assert rows_of() == {}


@pytest.mark.usefixtures("studies")
def test_delete_where_no_mlflow_answers_removes_the_rest_and_says_what_stays(url, rows_of):
    mine = checkpointed(url, "small")
    (left,) = api.delete("small", storage=url, tracking_uri=NOBODY)
    assert NOBODY in left
    assert left.endswith("; the study's runs stay in MLflow")
    assert not mine.exists()
    assert rows_of()["studies"] == 1
