"""The run of the whole study in MLflow: what it tells of its trials, and what of it stays."""

import pytest

from kdsearch.mirror.mirror import Mirror
from kdsearch.store.runs import TEACHER
from tests.seen import Seen, distinct, filled

# MLflow's own use of SQLAlchemy; hidden from users, as Python hides all deprecations in libraries.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture
def study(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the local store writes artifacts into ./mlruns
    return distinct(study)


def test_the_parent_holds_the_study_file_and_the_data_sets(uri, study, record):
    Mirror(uri, study, record).tick([])
    seen = Seen(uri, study)
    parent = seen.runs[study.name]
    names = {given.dataset.name: given.dataset.digest for given in parent.inputs.dataset_inputs}
    assert names == {"digits train": "f" * 36, "digits validation": "f" * 36}
    assert [file.path for file in seen.client.list_artifacts(parent.info.run_id)] == ["study.toml"]
    assert parent.data.params["seed"] == "7"


def test_the_star_moves_to_a_better_trial(local_uri, study, record, trial, epoch):
    filled(record, epoch, [0, 1])
    first, second = trial(0, "COMPLETE"), trial(1, "COMPLETE", value=0.95)
    mirror = Mirror(local_uri, study.model_copy(update={"best": "0.0"}), record)
    mirror.tick([first])
    mirror.study = study.model_copy(update={"best": "1.0"})
    mirror.tick([first, second])
    names = {run.info.run_name for run in Seen(local_uri, study).runs.values()}
    assert {"000 plain kl 50.3k 90.00", "\N{BLACK STAR} 001 plain kl 50.3k 95.00"} < names


def test_the_parent_tells_how_the_study_stands(uri, study, record, trial, epoch):
    filled(record, epoch, [0, 1])
    study = study.model_copy(update={"best": "0.0"})
    Mirror(uri, study, record).tick(
        [
            trial(0, "COMPLETE"),
            trial(1, "PRUNED"),
            trial(2),
            trial(3, "FAIL", mark="lost"),
            trial(4, "FAIL", mark="lost", failed=True),
        ]
    )
    seen = Seen(uri, study)
    metrics = seen.runs[study.name].data.metrics
    told = {"best_accuracy": 0.9, "best_parameters": 50_283, "best_macs": 1_000_000, "best_trial": 0}
    assert metrics == told | {"finished": 2, "pruned": 1, "failed": 1, "teacher_accuracy": 0.97}
    experiment = seen.client.get_experiment_by_name(study.name)
    best, teacher, read = experiment.tags["mlflow.note.content"].split("\n\n")
    assert "trial 0, 90.00 %" in best
    assert "resnet18, 97.00 %" in teacher
    assert "2 of 100 trials" in read


def test_where_a_trial_ran_stands_on_the_parent_and_on_trials_that_differ(
    local_uri, study, record, trial, epoch
):
    filled(record, epoch, [0, 1])
    here, there = {"versions": "torch==2.14", "device": "cpu"}, {"versions": "torch==2.14", "device": "cuda"}
    rows = [trial(0, "COMPLETE", tags=here), trial(1, "COMPLETE", tags=there)]
    Mirror(local_uri, study, record).tick(rows)
    runs = Seen(local_uri, study).runs
    ran = {name: {key: run.data.tags.get(key) for key in here} for name, run in runs.items()}
    assert (ran[study.name], ran["trial 0"]["device"], ran["trial 1"]["device"]) == (here, None, "cuda")
    assert ran["trial 1"]["versions"] is None


def test_runs_of_an_older_layout_are_written_anew_under_the_same_parent(uri, study, record, trial, epoch):
    """Their parameters hold words for what a trial does not have, and MLflow changes no parameter."""
    filled(record, epoch, [TEACHER, 0])
    rows, said = [trial(0, "COMPLETE")], []
    Mirror(uri, study, record).tick(rows)
    before = Seen(uri, study)
    for name in ("trial 0", "teacher"):
        before.client.delete_tag(before.runs[name].info.run_id, "kdsearch.layout")
    before.client.log_param(before.runs["trial 0"].info.run_id, "kl.width", "NaN")
    Mirror(uri, study, record, said.append).tick(rows)
    after = Seen(uri, study)
    assert after.runs[study.name].info.run_id == before.runs[study.name].info.run_id
    assert after.runs.keys() == before.runs.keys()
    assert "kl.width" not in after.runs["trial 0"].data.params
    assert after.points("trial 0", "val_accuracy") == before.points("trial 0", "val_accuracy")
    assert said == ["2 runs that an older kdsearch wrote to MLflow are written anew"]


def test_a_note_of_the_user_s_stays(local_uri, study, record, trial, epoch):
    filled(record, epoch, [0])
    mirror = Mirror(local_uri, study, record)
    mirror.tick([trial(0)])
    seen = Seen(local_uri, study)
    experiment = seen.client.get_experiment_by_name(study.name).experiment_id
    seen.client.set_experiment_tag(experiment, "mlflow.note.content", "my own words")
    Mirror(local_uri, study.model_copy(update={"best": "0.0"}), record).tick([trial(0, "COMPLETE")])
    assert seen.client.get_experiment(experiment).tags["mlflow.note.content"] == "my own words"
