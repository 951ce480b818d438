import math
from itertools import count

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from kdsearch.tracking.mirror import Mirror
from kdsearch.tracking.reaching import MirrorUnavailableError
from kdsearch.tracking.record import TEACHER_SLOT

# MLflow's own use of SQLAlchemy; hidden from users, as Python hides all deprecations in libraries.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:sqlalchemy.exc.SADeprecationWarning")
STORES = ["local", pytest.param("server", marks=pytest.mark.mlflow)]
NAMES = count()


@pytest.fixture(scope="session")
def local_uri(tmp_path_factory):
    """One store for all tests, since making it takes a second; each test has an experiment of its own."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(params=STORES)
def uri(request):
    return (
        request.getfixturevalue("mlflow").uri
        if request.param == "server"
        else request.getfixturevalue("local_uri")
    )


@pytest.fixture
def study(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the local store writes artifacts into ./mlruns
    return study.model_copy(update={"name": f"digits-{next(NAMES)}"})


class Seen:
    """What a user sees of one study in MLflow."""

    def __init__(self, uri, study):
        self.client = MlflowClient(uri)
        found = self.client.get_experiment_by_name(study.name)
        view = found and self.client.search_runs([found.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)
        self.runs = {self.name(run): run for run in view or []}
        assert len(self.runs) == len(view or [])

    @staticmethod
    def name(run):
        """A trial's number does not change while its run's name does."""
        number = run.data.tags.get("trial")
        return run.info.run_name if number is None else f"trial {number}"

    def statuses(self):
        return {name: run.info.status for name, run in self.runs.items()}

    def points(self, name, metric):
        history = self.client.get_metric_history(self.runs[name].info.run_id, metric)
        return [(point.step, point.timestamp, point.value) for point in sorted(history, key=lambda p: p.step)]

    def everything(self):
        """All that does not depend on when it was mirrored, comparable with ==."""
        facts = {}
        for name, run in self.runs.items():
            curves = {metric: repr(self.points(name, metric)) for metric in run.data.metrics}
            facts[name] = run.info.status, run.info.start_time, run.data.params, curves
        return facts


def filled(record, epoch, slots, epochs=2):
    for slot in slots:
        for number in range(1, epochs + 1):
            record.epoch(slot, 0, epoch(number))


def test_each_teacher_has_a_run(uri, study, record, trial, epoch):
    for place in range(2):
        record.epoch(TEACHER_SLOT, place, epoch(1, val_accuracy=0.5 + place / 4))
    facts = {f"teachers.{name}": {"model": "resnet18", "accuracy": 0.9} for name in ("a", "b")}
    study = study.model_copy(update={"teachers": facts})
    Mirror(uri, study, record).tick([trial(0)])
    seen = Seen(uri, study)
    found = {name: run.data.metrics["val_accuracy"] for name, run in seen.runs.items() if "teachers" in name}
    assert found == {"teachers.a": 0.5, "teachers.b": 0.75}
    assert seen.runs[study.name].data.params["teachers.b.model"] == "resnet18"


def test_runs_are_nested_and_have_the_states_of_their_trials(uri, study, record, trial, epoch):
    filled(record, epoch, [TEACHER_SLOT, 0, 1, 2, 3])
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
    assert mirror.awaits_model(0, 0) == seen.runs["trial 0"].info.run_id


def test_a_run_holds_parameters_sizes_curves_and_final_values(uri, study, record, trial, epoch):
    filled(record, epoch, [0])
    Mirror(uri, study, record).tick([trial(0, "COMPLETE", params={"loss": "ce", "alpha": 0.123456789})])
    seen = Seen(uri, study)
    run = seen.runs["trial 0"]
    assert run.data.params == {"loss": "ce", "alpha": "0.123457"}
    assert (run.data.metrics["parameters"], run.data.metrics["final_accuracy"]) == (50_283, 0.9)
    assert seen.points("trial 0", "train_loss") == [(1, 1_700_000_001_125, 1.0), (2, 1_700_000_002_125, 0.5)]
    assert (run.info.start_time, run.info.end_time) == (1_700_000_000_000, 1_700_000_100_000)


def test_the_parent_holds_the_study_file_and_the_data_sets(uri, study, record):
    Mirror(uri, study, record).tick([])
    seen = Seen(uri, study)
    parent = seen.runs[study.name]
    names = {given.dataset.name: given.dataset.digest for given in parent.inputs.dataset_inputs}
    assert names == {"digits train": "f" * 36, "digits validation": "f" * 36}
    assert [file.path for file in seen.client.list_artifacts(parent.info.run_id)] == ["study.toml"]
    assert parent.data.params["seed"] == "7"


def test_ticks_repeated_by_anyone_change_nothing(uri, study, record, trial, epoch):
    record.epoch(0, 0, epoch(1, train_loss=math.nan, val_loss=math.inf))
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
    record.epoch(0, 0, epoch(1))
    Mirror(uri, study, record).tick([trial(0, "FAIL")])
    assert Seen(uri, study).statuses()["trial 0"] == "FAILED"
    record.epoch(0, 0, epoch(2))
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
    filled(record, epoch, [TEACHER_SLOT, 0, 1])
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
    record.epoch(0, 0, epoch(1, val_accuracy=0.7))
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
    filled(record, epoch, [TEACHER_SLOT, 0, 1, 2])
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
    filled(record, epoch, [TEACHER_SLOT, 0])
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
