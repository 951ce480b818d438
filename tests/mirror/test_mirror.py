import math

import pytest
from mlflow import MlflowClient

from kdsearch.mirror.mirror import Mirror
from kdsearch.mirror.uri import MirrorUnavailableError
from kdsearch.store.runs import SEARCH, TEACHER, Run
from tests.seen import Seen, distinct, filled

# MLflow's own use of SQLAlchemy; hidden from users, as Python hides all deprecations in libraries.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture
def study(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the local store writes artifacts into ./mlruns
    return distinct(study)


def test_each_teacher_has_a_run(uri, study, record, trial, epoch):
    for place in range(2):
        record.epoch(Run(TEACHER, place, 0), epoch(1, val_accuracy=0.5 + place / 4))
    facts = {f"teachers.{name}": {"model": "resnet18", "accuracy": 0.9} for name in ("a", "b")}
    study = study.model_copy(update={"teachers": facts})
    Mirror(uri, study, record).tick([trial(0)])
    seen = Seen(uri, study)
    found = {name: run.data.metrics["val_accuracy"] for name, run in seen.runs.items() if "teachers" in name}
    assert found == {"teachers.a": 0.5, "teachers.b": 0.75}
    assert seen.runs[study.name].data.params["teachers.b.model"] == "resnet18"


def test_runs_are_nested_and_have_the_states_of_their_trials(uri, study, record, trial, epoch):
    filled(record, epoch, [TEACHER, 0, 1, 2, 3])
    failed = trial(2, "FAIL", mark="failed", failed=True, reason="out of memory")
    mirror = Mirror(uri, study, record)
    mirror.tick([trial(0, "COMPLETE"), trial(1, "PRUNED"), failed, trial(3)])
    seen = Seen(uri, study)
    assert seen.statuses() == {
        study.name: "RUNNING",
        "teacher": "FINISHED",
        "trial 0": "FINISHED",
        "trial 1": "KILLED",
        "trial 2": "FAILED",
        "trial 3": "RUNNING",
    }
    parent = seen.runs.pop(study.name)
    assert {run.data.tags["mlflow.parentRunId"] for run in seen.runs.values()} == {parent.info.run_id}
    assert seen.runs["teacher"].data.metrics["teacher_accuracy"] == 0.97
    families = {name: run.data.tags["family"] for name, run in seen.runs.items()}
    assert families == {"teacher": "resnet18"} | {f"trial {number}": "plain" for number in range(4)}
    assert seen.runs["trial 1"].data.tags["pruned_epoch"] == "2"
    assert seen.runs["trial 2"].data.tags["reason"] == "out of memory"
    assert mirror.awaits_model(Run(SEARCH, 0, 0)) == seen.runs["trial 0"].info.run_id


def test_a_run_holds_parameters_sizes_curves_and_final_values(uri, study, record, trial, epoch):
    filled(record, epoch, [0])
    Mirror(uri, study, record).tick([trial(0, "COMPLETE", params={"loss": "ce", "alpha": 0.123456789})])
    seen = Seen(uri, study)
    run = seen.runs["trial 0"]
    assert run.data.params == {"loss": "ce", "alpha": "0.123457"}
    assert (run.data.metrics["parameters"], run.data.metrics["final_accuracy"]) == (50_283, 0.9)
    assert seen.points("trial 0", "train_loss") == [(1, 1_700_000_001_125, 1.0), (2, 1_700_000_002_125, 0.5)]
    assert (run.info.start_time, run.info.end_time) == (1_700_000_000_000, 1_700_000_100_000)


def test_ticks_repeated_by_anyone_change_nothing(uri, study, record, trial, epoch):
    record.epoch(Run(SEARCH, 0, 0), epoch(1, train_loss=math.nan, val_loss=math.inf))
    first, second = Mirror(uri, study, record), Mirror(uri, study, record)
    first.tick([trial(0)])
    second.tick([trial(0)])
    filled(record, epoch, [0, 1])
    rows = [trial(0, "COMPLETE"), trial(1)]
    for mirror in (second, first, second, Mirror(uri, study, record), first):
        mirror.tick(rows)
        assert [point[0] for point in Seen(uri, study).points("trial 0", "train_loss")] == [1, 2]
    before = Seen(uri, study).everything()
    Mirror(uri, study, record).tick(rows)
    assert Seen(uri, study).everything() == before


def test_a_retry_continues_the_run_of_the_trial_that_died(uri, study, record, trial, epoch):
    record.epoch(Run(SEARCH, 0, 0), epoch(1))
    Mirror(uri, study, record).tick([trial(0, "FAIL")])
    assert Seen(uri, study).statuses()["trial 0"] == "FAILED"
    record.epoch(Run(SEARCH, 0, 0), epoch(2))
    mirror = Mirror(uri, study, record)
    mirror.tick([trial(0, "FAIL"), trial(1, slot=0)])
    assert Seen(uri, study).statuses() == {study.name: "RUNNING", "teacher": "FINISHED", "trial 1": "RUNNING"}
    mirror.tick([trial(0, "FAIL"), trial(1, "COMPLETE", slot=0)])
    seen = Seen(uri, study)
    assert seen.statuses()["trial 1"] == "FINISHED"
    assert [point[0] for point in seen.points("trial 1", "val_accuracy")] == [1, 2]


def test_surplus_and_duplicate_trials_have_no_run(local_uri, study, record, trial, epoch):
    filled(record, epoch, [0])
    marked = [trial(1, "FAIL", mark="surplus", slot=0), trial(2, "FAIL", mark="duplicate")]
    Mirror(local_uri, study, record).tick([trial(0, "COMPLETE"), *marked, trial(3, "WAITING"), trial(4)])
    assert set(Seen(local_uri, study).runs) == {study.name, "teacher", "trial 0"}


def test_a_long_trial_goes_over_in_several_batches(local_uri, study, record, trial, epoch):
    filled(record, epoch, [0], epochs=130)  # 8 metrics each, 1000 are allowed in a batch
    Mirror(local_uri, study, record).tick([trial(0, "COMPLETE")])
    assert len(Seen(local_uri, study).points("trial 0", "images_per_second")) == 130


def test_a_running_trial_is_sent_when_it_is_asked_for_and_when_it_has_ended(
    local_uri, study, record, trial, epoch
):
    filled(record, epoch, [0], epochs=1)
    mirror = Mirror(local_uri, study, record)
    mirror.tick([trial(0)], live=False)
    assert "trial 0" not in Seen(local_uri, study).runs
    mirror.tick([trial(0)])
    filled(record, epoch, [0])
    mirror.tick([trial(0)], live=False)
    assert [point[0] for point in Seen(local_uri, study).points("trial 0", "val_loss")] == [1]
    mirror.tick([trial(0, "COMPLETE")], live=False)
    assert [point[0] for point in Seen(local_uri, study).points("trial 0", "val_loss")] == [1, 2]


def test_closed_and_opened_again(uri, study, record, trial, epoch):
    filled(record, epoch, [0])
    mirror = Mirror(uri, study, record)
    mirror.tick([trial(0, "COMPLETE")])
    mirror.close("KILLED")
    mirror.tick([trial(0, "COMPLETE")])
    assert Seen(uri, study).statuses()[study.name] == "KILLED"
    mirror.tick([trial(0, "COMPLETE"), trial(1)])
    assert Seen(uri, study).statuses()[study.name] == "RUNNING"
    mirror.close("FINISHED")
    assert Seen(uri, study).statuses()[study.name] == "FINISHED"


def test_deleted_runs_are_made_again(uri, study, record, trial, epoch):
    """By a mirror that remembers having sent everything; children that are left move to the new parent."""
    filled(record, epoch, [TEACHER, 0, 1])
    rows = [trial(0, "COMPLETE"), trial(1)]
    mirror = Mirror(uri, study, record)
    mirror.tick(rows)
    before = Seen(uri, study)
    for name in (study.name, "trial 1"):
        before.client.delete_run(before.runs[name].info.run_id)
    mirror.tick(rows)
    after = Seen(uri, study)
    parent = after.runs.pop(study.name)
    assert after.statuses() == {"teacher": "FINISHED", "trial 0": "FINISHED", "trial 1": "RUNNING"}
    assert {run.data.tags["mlflow.parentRunId"] for run in after.runs.values()} == {parent.info.run_id}
    assert after.points("trial 1", "train_loss") == before.points("trial 0", "train_loss")


def test_delete_runs_leaves_nothing_to_a_new_study_of_the_same_name(uri, study, record, trial, epoch):
    filled(record, epoch, [0])
    mirror = Mirror(uri, study, record)
    mirror.tick([trial(0, "COMPLETE")])
    mirror.delete_runs()
    assert Seen(uri, study).runs == {}
    record.delete()
    record.epoch(Run(SEARCH, 0, 0), epoch(1, val_accuracy=0.7))
    mirror.tick([trial(0)])
    assert [point[2] for point in Seen(uri, study).points("trial 0", "val_accuracy")] == [0.7]


def test_delete_runs_makes_nothing_where_there_is_nothing(uri, study, record, tmp_path):
    Mirror(uri, study, record).delete_runs()
    assert MlflowClient(uri).get_experiment_by_name(study.name) is None
    Mirror(f"sqlite:///{tmp_path / 'none' / 'mlflow.db'}", study, record).delete_runs()
    assert not (tmp_path / "none").exists()


def test_a_run_that_was_made_twice_is_one_again(local_uri, study, record, trial, epoch):
    """As two mirrors do that look at the same moment, and find nothing."""
    filled(record, epoch, [0])
    Mirror(local_uri, study, record).tick([trial(0)])
    twin = Seen(local_uri, study).runs["trial 0"]
    MlflowClient(local_uri).create_run(twin.info.experiment_id, twin.info.start_time, twin.data.tags)
    Mirror(local_uri, study, record).tick([trial(0)])
    seen = Seen(local_uri, study)
    assert set(seen.runs) == {study.name, "teacher", "trial 0"}
    assert len(seen.points("trial 0", "val_loss")) == 2


@pytest.mark.mlflow
def test_a_server_that_dies_and_returns_has_everything_in_the_end(mlflow, study, record, trial, epoch):
    mirror = Mirror(mlflow.uri, study, record)
    filled(record, epoch, [0, 1], epochs=1)
    mirror.tick([trial(0), trial(1)])
    mlflow.kill()
    filled(record, epoch, [TEACHER, 0, 1, 2])
    rows = [trial(0, "COMPLETE"), trial(1, "PRUNED"), trial(2)]
    for _ in range(2):
        with pytest.raises(MirrorUnavailableError, match=r"^MLflow at http://127\.0\.0\.1"):
            mirror.tick(rows)
    mlflow.start()
    mirror.tick(rows)
    after = Seen(mlflow.uri, study)
    statuses = {"trial 0": "FINISHED", "trial 1": "KILLED", "trial 2": "RUNNING", "teacher": "FINISHED"}
    assert after.statuses() == statuses | {study.name: "RUNNING"}
    for name in statuses:
        assert [point[0] for point in after.points(name, "val_loss")] == [1, 2]
