"""What a worker leaves when it is interrupted, and what the next one makes of it."""

import itertools
import shutil
import subprocess
import sys

import optuna
import pytest
from optuna.trial import TrialState

from kdsearch.errors import CacheDamagedError
from kdsearch.run.child import Child
from kdsearch.run.protocol import Failed, Job
from kdsearch.store.facts import trial_facts
from kdsearch.store.runs import SEARCH, Run

SEARCHES = {"tpe": ("median", 24), "random": ("median", 24)}  # sampler: pruner and target


def stop_after(steps):
    """A `stop` that says so from its `steps`-th question on; it is asked before each step."""
    asked = itertools.count()
    return lambda: next(asked) >= steps


@pytest.mark.parametrize("sampler", SEARCHES)
def test_the_same_seed_gives_the_same_trials_and_an_interruption_changes_nothing(
    create, worker, outcome, curves, sampler
):
    pruner, target = SEARCHES[sampler]
    tables = {
        "search": {"sampler": sampler, "pruner": pruner},
        "training": {"epochs": 6, "learning_rate": 2e-2},
    }
    study = create(target, **tables)
    worker().work()
    undisturbed = outcome(study)
    assert any(trial.state == TrialState.PRUNED for trial in study.trials)

    optuna.delete_study(study_name="small", storage=study._storage)
    again = create(target, **tables)
    broken_off = set()
    for steps in (1, 8, 14, 20):
        worker(stop=stop_after(steps)).work()
        broken_off |= curves(again).keys() & {trial_facts(again.trials[-1]).run}
    worker().work()
    interrupted = [trial for trial in again.trials if trial_facts(trial).mark == "interrupted"]
    assert len(interrupted) == 4
    assert broken_off
    assert outcome(again) == undisturbed


def test_an_interrupted_trial_waits_with_its_slot_and_parameters_and_is_no_death(create, worker):
    study = create(3)
    for _ in range(5):
        worker(stop=stop_after(2)).work()
    worker().work()
    first = [trial for trial in study.trials if trial_facts(trial).run == Run(SEARCH, 0, 0)]
    assert [trial_facts(trial).mark for trial in first] == ["interrupted"] * 5 + [None]
    assert len({str(trial.params) for trial in first}) == 1


def test_a_trial_that_meets_a_damaged_view_waits_for_it_and_changes_nothing(
    create, worker, prepared, outcome, tmp_path
):
    study = create(3)
    worker().work()
    undisturbed = outcome(study)
    optuna.delete_study(study_name="small", storage=study._storage)
    again = create(3)
    own = prepared.bank.model_copy(update={"folder": tmp_path / "own"})
    shutil.copytree(prepared.bank.folder, own.folder)
    file = own.path(1) / "images.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()  # whoever made the views has ended
    places = prepared.model_copy(update={"bank": own, "maker": child.pid})
    with pytest.raises(CacheDamagedError, match=r"view-0001/images\.npy: damaged .* the same command"):
        worker(prepared=places).work()
    assert [(trial_facts(trial).mark, trial.state) for trial in again.trials] == [
        ("interrupted", TrialState.FAIL),
        (None, TrialState.WAITING),
    ]
    assert [path.name for path in places.checkpoints.iterdir()] == ["slot-0-0.safetensors"]
    file.write_bytes(whole)
    worker(prepared=places).work()
    assert [trial.state for trial in again.trials].count(TrialState.FAIL) == 1
    assert outcome(again) == undisturbed


def test_a_finished_trial_leaves_no_checkpoint_and_an_interrupted_one_does(create, worker, prepared):
    create(3)
    worker(stop=stop_after(4)).work()
    assert [path.name for path in prepared.checkpoints.iterdir()] == ["slot-0-0.safetensors"]
    worker().work()
    assert list(prepared.checkpoints.iterdir()) == []


def test_a_trial_that_is_stopped_and_cannot_be_saved_waits_with_its_parameters(
    create, worker, prepared, outcome, lines
):
    study = create(2)
    prepared.checkpoints.write_text("in the folder's place")
    stopped = worker(stop=stop_after(4))
    stopped.work()
    failed, waiting = study.trials
    assert (trial_facts(failed).mark, waiting.state) == ("interrupted", TrialState.WAITING)
    assert waiting.params == failed.params
    assert trial_facts(waiting).run == Run(SEARCH, 0, 0)
    (line,) = lines(stopped)
    assert line == (
        f"{prepared.checkpoints / 'slot-0-0.safetensors'}: the trial could not be saved (File exists); "
        "it resumes from its beginning"
    )
    prepared.checkpoints.unlink()
    worker().work()
    resumed = outcome(study)
    optuna.delete_study(study_name="small", storage=study._storage)
    again = create(2)
    worker().work()
    assert resumed == outcome(again)


def test_a_trial_whose_weights_the_database_does_not_take_is_saved(create, url, prepared):
    study = create(1)
    with study._storage.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON kdsearch_files WHEN NEW.name LIKE 'weights%' "
            "BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    child = Child("kdsearch.run.worker:work_process")
    child.begin(Job("small", url, prepared.model_dump(mode="json"), 0, 1, 0, 0.0))
    child.process.join()
    (failed,) = (message for message in child.messages() if isinstance(message, Failed))
    assert "no room" in failed.text
    assert child.process.exitcode == failed.exit_code
    assert [path.name for path in prepared.checkpoints.iterdir()] == ["slot-0-0.safetensors"]


def test_checkpoints_that_cannot_be_written_fail_no_trial_and_are_said_once(create, worker, prepared, lines):
    study = create(2)
    prepared.checkpoints.write_text("in the folder's place")
    unsaved = worker(save_every=0.0)
    unsaved.work()
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert lines(unsaved) == [
        f"{prepared.checkpoints}: no checkpoint can be written (File exists); training goes on without one"
    ]


def test_a_damaged_checkpoint_fails_no_trial_and_changes_no_number(create, worker, prepared, outcome, lines):
    study = create(2)
    worker(stop=stop_after(4)).work()
    path = prepared.checkpoints / "slot-0-0.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    resuming = worker()
    resuming.work()
    assert lines(resuming) == [f"{path}: cannot be used (damaged); the trial begins anew"]
    assert [trial_facts(trial).mark for trial in study.trials] == ["interrupted", None, None]
    resumed = outcome(study)
    optuna.delete_study(study_name="small", storage=study._storage)
    again = create(2)
    worker().work()
    assert resumed == outcome(again)


def test_a_trial_that_begins_anew_keeps_nothing_of_the_curve_that_it_threw_away(
    create, worker, prepared, outcome
):
    """Another device's numbers differ; here they are altered."""
    tables = {"training": {"epochs": 5}}
    study = create(3, **tables)
    undisturbed_worker = worker()
    undisturbed_worker.work()
    undisturbed, run = outcome(study), Run(SEARCH, 0, 0)
    optuna.delete_study(study_name="small", storage=study._storage)
    undisturbed_worker.bench.record.delete()

    again = create(3, **tables)
    worker(stop=stop_after(9)).work()  # each epoch has two steps
    waiting = again.trials[-1]
    record = worker().bench.record
    assert (trial_facts(waiting).run, len(record.epochs(run))) == (run, 4)
    record.replace_epochs(run, [e.model_copy(update={"val_accuracy": 0.01}) for e in record.epochs(run)])
    again._storage.set_trial_user_attr(waiting._trial_id, "audited", {"epoch": 3, "best": 0.0})
    (prepared.checkpoints / "slot-0-0.safetensors").unlink()

    worker().work()
    assert outcome(again) == undisturbed
    (first,) = (t for t in again.trials if trial_facts(t).run == run and t.value is not None)
    assert trial_facts(first).audited is None
