"""The best student of a real search on digits, in a real MLflow, asked by a process without kdsearch."""

import json
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from kdsearch.cli import main
from kdsearch.data.image_set import SearchSets
from kdsearch.errors import ReportedError
from kdsearch.mirror.mirror import Mirror
from kdsearch.mirror.mirrored import STUDY_TAG
from kdsearch.mirror.model import LAYOUT_TAG
from kdsearch.mirror.uri import how_to_load
from kdsearch.run.mirroring import mirror_once
from kdsearch.run.model_log import ModelLog, ModelRequest
from kdsearch.store.facts import study_facts
from kdsearch.store.record import StudyRecord
from kdsearch.store.studies import Found
from kdsearch.store.trials import Trials
from tests.servers import mlflow_server

LOG = "kdsearch.deliver.logged:log_process"

# In a folder of its own, as somebody who has only the lines that kdsearch printed.
ASKING = """
import json
import sys
import time

sys.modules["kdsearch"] = sys.modules["torch"] = None  # so that importing them fails
import mlflow
import numpy as np

gray, labels = np.load("images.npy"), np.load("labels.npy")
images = gray.transpose(0, 2, 3, 1)
exec(open("lines.py").read())
forms = [images, images.repeat(3, 3), images / 255, gray, gray.astype(np.float32) / np.float32(255)]
uri = "models:/" + model.metadata.model_id
requirements = open(mlflow.pyfunc.get_model_dependencies(uri)).read().split()
answers = [model.predict(form) for form in forms]
assert all(answer.equals(answers[0]) for answer in answers)
assert model.predict(images[0]).equals(answers[0][:1])
answer = answers[0]
shares = answer[[name for name in answer if name.startswith("p(")]]
assert np.allclose(shares.sum(axis=1), 1)
assert (shares.max(axis=1) == answer["probability"]).all()
print(json.dumps({
    "accuracy": float((answer["class"].astype(int) == labels).mean()),
    "columns": list(answer),
    "requirements": sorted(each.partition("==")[0] for each in requirements),
    "metadata": model.metadata.metadata,
}))
"""


@pytest.fixture(params=["server", "local"])
def uri(request, tmp_path, monkeypatch):
    """A tracking server, or MLflow's default store in the working directory."""
    monkeypatch.chdir(tmp_path)
    if request.param == "local":
        yield f"sqlite:///{tmp_path}/mlflow.db"  # absolute: MLflow keeps one store a URI for a whole process
        return
    with mlflow_server(tmp_path) as server:
        yield server.uri


class Told:
    """Progress that remembers its lines."""

    def __init__(self):
        self.lines = []

    def step(self, task, done, total, note=""):
        pass

    def say(self, text):
        self.lines.append(text)


@pytest.fixture
def logged(create, worker, uri, url):
    """A finished study in MLflow, and a function that logs its best model and returns what was said."""
    study = create(3)
    worker().work()
    run_id = awaiting(study, StudyRecord(url, study.study_name), uri)

    def log():
        told = Told()
        with closing(ModelLog(LOG)) as model_log:
            model_log.log(ModelRequest(url, "small", uri, run_id), told)
        return told.lines

    return study, run_id, log


def awaiting(study, record, uri):
    """The best trial's run in MLflow after a look of the mirror, if it has no model yet."""
    mirror = mirror_once(Mirror, uri, Found(study, record), print)
    return mirror.awaits_model(Trials.of(study).best.run)


def models(uri, run_id):
    client = MlflowClient(uri)
    return list(client.search_logged_models([client.get_run(run_id).info.experiment_id]))


def files_of(client, model_id, folder=None):
    for file in client.list_logged_model_artifacts(model_id, folder):
        if file.is_dir:
            yield from files_of(client, model_id, file.path)
        else:
            yield file.path


@pytest.mark.slow
@pytest.mark.mlflow
def test_the_models_page_and_its_answers_are_those_of_the_record(logged, uri, url, data, tmp_path):
    study, run_id, log = logged
    best, record = Trials.of(study).best, StudyRecord(url, "small")
    assert how_to_load(study) == ()
    assert log() == []
    (model,) = models(uri, run_id)
    client = MlflowClient(uri)

    last = record.epochs(best.run)[-1]
    first = record.epochs(best.run)[0]
    assert last.val_accuracy != first.val_accuracy, "else this proves nothing"
    told = best.facts.student
    for found in (model, client.get_logged_model(model.model_id)):
        shown = {metric.key: metric.value for metric in found.metrics}
        assert shown["final_accuracy"] == shown["val_accuracy"] == last.val_accuracy == best.accuracy
        assert shown["val_loss"] == last.val_loss
        assert (shown["parameters"], shown["macs"]) == (told.parameters, told.macs)
    assert len({metric.key for metric in model.metrics}) == len(model.metrics)
    note = model.tags["mlflow.note.content"]
    for part in (f"**{100 * best.accuracy:.2f} %**", f"{told.parameters:,} parameters", f"{told.macs:,}"):
        assert part in note
    assert model.params["classes"] == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert "N x 3 x H x W" in model.params["input"]
    assert sorted(files_of(client, model.model_id)) == [
        "MLmodel",
        "artifacts/config.json",
        "artifacts/student.onnx",
        "conda.yaml",
        "python_env.yaml",
        "requirements.txt",
        "served.py",
    ]

    folder = tmp_path if uri.startswith("sqlite") else tmp_path / "elsewhere"
    folder.mkdir(exist_ok=True)
    lines = how_to_load(study)
    assert len(lines) == (2 if uri.startswith("sqlite") else 3)
    assert lines[-2:] == (
        f'model = mlflow.pyfunc.load_model("models:/{model.model_id}")',
        "model.predict(images)",
    )
    validation = SearchSets.open(data).validation
    np.save(folder / "images.npy", validation.images.numpy())
    np.save(folder / "labels.npy", validation.labels.numpy())
    (folder / "lines.py").write_text("\n".join(lines))
    asked = [sys.executable, "-c", ASKING]
    done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    answer = json.loads(done.stdout)
    assert answer["accuracy"] == pytest.approx(best.accuracy, abs=1e-6)
    assert answer["columns"] == ["class", "probability", *(f"p({digit})" for digit in range(10))]
    assert answer["requirements"] == ["mlflow", "numpy", "onnxruntime", "pandas", "pillow"]
    assert answer["metadata"]["trial"] == best.number


@pytest.mark.slow
@pytest.mark.mlflow
def test_a_model_stays_one_of_an_older_version_or_cut_off_is_replaced(logged, uri):
    study, run_id, log = logged
    client = MlflowClient(uri)
    experiment = client.get_run(run_id).info.experiment_id
    cut_off = client.create_logged_model(experiment, "student", run_id)
    tags = client.get_run(run_id).data.tags
    old, other = (client.create_run(experiment, tags={STUDY_TAG: of}) for of in (tags[STUDY_TAG], "another"))
    client.create_logged_model(experiment, "student", old.info.run_id)
    client.delete_run(old.info.run_id)  # as the mirror does with an older version's
    theirs = client.create_logged_model(experiment, "student", other.info.run_id)
    nobodys = client.create_logged_model(experiment, "student")
    (said,) = log()
    assert "of an older version: now it is models:/" in said
    left = {model.model_id for model in models(uri, run_id)}
    assert {theirs.model_id, nobodys.model_id} < left
    assert cut_off.model_id not in left
    for each in (theirs, nobodys):
        client.delete_logged_model(each.model_id)
    (model,) = models(uri, run_id)
    assert said.endswith(model.model_uri)

    assert log() == []
    (same,) = models(uri, run_id)
    assert same.model_id == model.model_id

    record = StudyRecord(study._storage.engine, study.study_name)
    assert awaiting(study, record, uri) is None  # there is nothing to log
    client.delete_logged_model_tag(model.model_id, LAYOUT_TAG)
    assert awaiting(study, record, uri) == run_id
    (said,) = log()
    (new,) = models(uri, run_id)
    assert new.model_id != model.model_id
    was = "incomplete or of an older version"
    assert said == f"the best model in MLflow was {was}: now it is {new.model_uri}"
    assert new.model_uri in how_to_load(study)[-2]


@pytest.mark.slow
@pytest.mark.mlflow
def test_a_registered_model_is_the_champion_and_says_where_it_comes_from(logged, uri, url):
    study, run_id, log = logged
    log()
    told, request = Told(), ModelRequest(url, "small", uri, run_id, register="food-small")
    for _ in range(2):  # what is registered stays the version that it is
        with closing(ModelLog(LOG)) as model_log:
            model_log.log(request, told)
    version = MlflowClient(uri).get_model_version_by_alias("food-small", "champion")
    best = Trials.of(study).best
    assert (str(version.version), version.run_id) == ("1", run_id)
    assert len(told.lines) == 2
    assert all(
        each.startswith("registered: food-small@champion, version 1 (models:/m-") for each in told.lines
    )
    known = {"study": "small", "trial": str(best.number), "parameters": str(best.facts.student.parameters)}
    assert known.items() <= version.tags.items()
    assert version.tags["data"].endswith(study_facts(study).data.fingerprint)


def test_a_model_that_cannot_be_registered_is_an_error(create, worker, url, tmp_path):
    create(1)
    worker().work()
    request = ModelRequest(url, "small", f"sqlite:///{tmp_path}/mlflow.db", "unknown", register="food-small")
    with closing(ModelLog(LOG)) as model_log, pytest.raises(ReportedError, match="'food-small' is not regis"):
        model_log.log(request, Told())


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "it's"])
def test_a_name_that_mlflow_refuses_is_said_before_anything_is_exported(name, tmp_path):
    done = CliRunner().invoke(main, ["export-best", "--register", name, "--out", str(tmp_path / "best")])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "MLflow's names of models have no" in done.stderr
