import itertools
import shutil
import subprocess
import sys

import optuna
import pytest
from optuna.trial import TrialState

from kdsearch.errors import CacheDamagedError, SearchError, StorageError
from kdsearch.search import loop, trial
from kdsearch.search.messages import Say
from kdsearch.store.facts import keep, trial_facts
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.takeover import give_back
from kdsearch.store.trials import StudyTrial

SEARCHES = {"tpe": ("median", 14), "random": ("none", 4)}  # sampler: pruner and target


def stop_after(steps):
    """A `stop` that says so from its `steps`-th question on; it is asked before each step."""
    asked = itertools.count()
    return lambda: next(asked) >= steps


def test_a_worker_ends_with_exactly_the_target(create, worker):
    study = create(5)
    worker().work()
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5
    assert [trial_facts(trial).run for trial in study.trials] == [Run(SEARCH, place, 0) for place in range(5)]


def test_a_larger_target_goes_on_where_the_study_stood(create, worker):
    study = create(2)
    worker().work()
    keep(study, target=3)
    worker().work()
    assert len(study.trials) == 3


def test_a_finished_study_needs_no_trial(create, worker):
    study = create(1)
    worker().work()
    worker().work()
    assert len(study.trials) == 1


def test_the_first_trials_are_baselines_without_a_teacher_first(create, worker):
    study = create(3)
    worker().work()
    assert [trial.params["distillation.loss"] for trial in study.trials[:2]] == ["ce", "kl"]
    assert [trial_facts(trial).baseline for trial in study.trials] == [True, True, False]


@pytest.mark.parametrize(
    "late", [True, False], ids=["before its answer is stored", "before an epoch is reported"]
)
def test_a_worker_whose_trial_was_taken_over_goes_on(create, worker, monkeypatch, late):
    study = create(2)
    taken = []

    def take_over(*_):
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if running and not taken:
            taken.append(running[0].number)
            give_back(study, StudyTrial.of(running[0]))
        return False

    if late:
        monkeypatch.setattr(trial, "keep_weights", take_over)
    worker(stop=lambda: False if late else take_over()).work()
    finished = [trial_facts(each).run for each in study.trials if each.state == TrialState.COMPLETE]
    assert sorted(finished) == [Run(SEARCH, 0, 0), Run(SEARCH, 1, 0)]
    assert study.trials[taken[0]].state == TrialState.FAIL


def test_no_student_is_over_the_budget(create, worker):
    study = create(6)
    worker().work()
    assert all(trial_facts(trial).student.parameters <= 3000 for trial in study.trials)
    assert all(trial.constraints["params"] <= 0 for trial in study.trials)


@pytest.mark.parametrize("sampler", SEARCHES)
def test_the_same_seed_gives_the_same_trials_and_an_interruption_changes_nothing(
    create, worker, outcome, curves, sampler
):
    pruner, target = SEARCHES[sampler]
    tables = {"search": {"sampler": sampler, "pruner": pruner}, "training": {"epochs": 5}}
    study = create(target, **tables)
    worker().work()
    undisturbed = outcome(study)

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
    create, worker, prepared, outcome
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


def test_a_trial_whose_weights_the_database_does_not_take_is_saved(create, worker, prepared, monkeypatch):
    create(1)

    def full(*_):
        raise StorageError("database or disk is full")

    def leave(code):
        raise SystemExit(code)

    monkeypatch.setattr(trial, "keep_weights", full)
    monkeypatch.setattr(loop, "leave", leave)
    with pytest.raises(SystemExit):
        worker().work()
    assert [path.name for path in prepared.checkpoints.iterdir()] == ["slot-0-0.safetensors"]


def test_checkpoints_that_cannot_be_written_fail_no_trial_and_are_said_once(
    create, worker, prepared, monkeypatch
):
    monkeypatch.setattr("kdsearch.engine.checkpoint.EVERY", 0.0)
    study = create(2)
    prepared.checkpoints.write_text("in the folder's place")
    unsaved = worker()
    unsaved.work()
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert lines(unsaved) == [
        f"{prepared.checkpoints}: no checkpoint can be written (File exists); training goes on, unsaved"
    ]


def test_a_damaged_checkpoint_fails_no_trial_and_changes_no_number(create, worker, prepared, outcome):
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


def test_failing_trials_stop_the_run_with_the_last_reason(create, worker):
    runs = [Run(SEARCH, 0, attempt) for attempt in range(5)]
    study = create(9, budget={"max_params": 100}, student={"depth_1": 3})
    with pytest.raises(SearchError, match=r"^5 trials in a row failed; the last one: UsageError: family"):
        worker().work()
    assert [trial_facts(trial).run for trial in study.trials] == runs
    assert not trial_facts(study.trials[1]).baseline
    with pytest.raises(SearchError):
        worker().work()
    assert len(study.trials) == 10


def test_a_study_with_one_configuration_trains_repeats_after_five_refusals(create, worker):
    one = {"family": "plain", "depth_1": 1, "growth": 2.0, "fraction": 1.0}
    training = {"learning_rate": 1e-2, "weight_decay": 1e-2}
    study = create(
        2, student=one, training=training, distillation={"loss": "ce"}, families={"plain": {"kernel": 3}}
    )
    worker().work()
    assert [trial_facts(trial).mark for trial in study.trials] == [None, *["duplicate"] * 5, None]
    first, last = study.trials[0], study.trials[-1]
    assert trial_facts(first).key == trial_facts(last).key
    assert trial_facts(first).student.seed != trial_facts(last).student.seed


def test_a_diverged_trial_is_pruned_and_counts(create, worker):
    study = create(3, training={"optimizer": "sgd", "learning_rate": 1e30, "epochs": 4})
    worker().work()
    assert [trial.state for trial in study.trials] == [TrialState.PRUNED] * 3
    assert {trial_facts(trial).mark for trial in study.trials} == {"diverged"}


def test_a_trial_that_another_worker_took_over_is_left_to_that_one(create, worker):
    study = create(1)
    left = worker()

    def take_over():
        """As a worker does that has heard nothing of this one for a grace time."""
        running = study.get_trials(states=(TrialState.RUNNING,))
        if running and not any(trial.state == TrialState.FAIL for trial in study.trials):
            give_back(study, StudyTrial.of(running[0]))
        return False

    left.bench.stop = take_over
    left.work()
    assert [(trial_facts(trial).run, trial_facts(trial).mark) for trial in study.trials] == [
        (Run(SEARCH, 0, 0), "lost"),
        (Run(SEARCH, 0, 0), None),
    ]
    assert study.trials[1].state == TrialState.COMPLETE


def test_one_worker_waits_for_a_trial_that_may_have_lost_its_worker_and_says_so(create, worker):
    study = create(2)
    study.enqueue_trial({}, user_attrs={"slot": 0, "attempt": 0})
    study._thread_local.in_optimize_loop = (
        True  # asked as optimize asks, by a worker that dies before its heartbeat
    )
    study.ask()
    alone = worker()
    alone.work()
    assert lines(alone) == ["trial 0 may have lost its worker; waiting for it, at most 4 s"]
    assert [(trial_facts(trial).run, trial_facts(trial).mark) for trial in study.trials] == [
        (Run(SEARCH, 0, 0), "lost"),
        (Run(SEARCH, 0, 0), None),
        (Run(SEARCH, 1, 0), None),
    ]


def lines(worker):
    """What the user is told."""
    said = []
    while worker.heard.poll():
        message = worker.heard.recv()
        said += [message.text] if isinstance(message, Say) else []
    return said
