import pytest
from optuna.trial import TrialState
from sqlalchemy import event

from kdsearch.errors import SearchError
from kdsearch.store.facts import keep, trial_facts
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.takeover import give_back
from kdsearch.store.trials import StudyTrial


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
def test_a_worker_whose_trial_was_taken_over_goes_on(create, worker, late):
    study = create(2)
    taken = []

    def take_over():
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if running and not taken:
            taken.append(running[0].number)
            give_back(study, StudyTrial.of(running[0]))
        return False

    left = worker(stop=lambda: False if late else take_over())
    if late:  # it keeps the weights, and looks at which others there are
        event.listen(
            left.bench.record.engine,
            "before_cursor_execute",
            lambda _, __, text, *___: text.startswith("SELECT kdsearch_files.name") and take_over(),
        )
    left.work()
    finished = [trial_facts(each).run for each in study.trials if each.state == TrialState.COMPLETE]
    assert sorted(finished) == [Run(SEARCH, 0, 0), Run(SEARCH, 1, 0)]
    assert study.trials[taken[0]].state == TrialState.FAIL


def test_no_student_is_over_the_budget(create, worker):
    study = create(6)
    worker().work()
    assert all(trial_facts(trial).student.parameters <= 3000 for trial in study.trials)
    assert all(trial.constraints["params"] <= 0 for trial in study.trials)


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
    one |= {"stem_stride": 1, "full_stages": 0, "smallest_map": 4}
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


def test_one_worker_waits_for_a_trial_that_may_have_lost_its_worker_and_says_so(create, worker, lines):
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
