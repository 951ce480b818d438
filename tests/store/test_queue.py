import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from kdsearch.store.facts import trial_facts
from kdsearch.store.queue import enqueue_place, retry
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.trials import MAX_DEATHS, Trials

RECIPES = [{"training.learning_rate": 0.01}]

DEAD = {"trial": 0, "host": "here", "processes": "none", "pid": 1, "since": 0.0}


@pytest.fixture
def study(create):
    return create()


def lose(study, mark="lost", **attributes):
    """A failed trial of place 0, half drawn unless it has a key."""
    trial = create_trial(
        state=TrialState.FAIL,
        params={"x": 0.5},
        distributions={"x": FloatDistribution(0, 1)},
        user_attrs={"slot": 0, "attempt": 0, "mark": mark, "worker": DEAD, **attributes},
        system_attrs={"fixed_params": {"y": 1}},
    )
    study.add_trial(trial)
    return study.trials[-1]


@pytest.mark.parametrize("mark", ["lost", "interrupted", "diverged", None])
def test_a_trial_that_came_to_no_end_waits_again_as_it_was_but_for_its_mark(study, mark):
    retry(study, lose(study, mark, key="k"))
    again = study.trials[1]
    assert (again.state, trial_facts(again).run, again.params) == (
        TrialState.WAITING,
        Run(SEARCH, 0, 0),
        {"x": 0.5},
    )
    assert again.system_attrs["fixed_params"] == {"y": 1}
    assert trial_facts(again).mark is None


def test_parameters_of_a_draw_that_was_broken_off_are_drawn_anew(study):
    retry(study, lose(study))
    assert (study.trials[1].params, study.trials[1].system_attrs["fixed_params"]) == ({}, {"y": 1})


@pytest.mark.parametrize("mark", ["failed", "duplicate", "surplus"])
def test_a_trial_that_ended_by_itself_does_not_come_again(study, mark):
    retry(study, lose(study, mark, key="k"))
    assert len(study.trials) == 1


def test_a_trial_without_a_slot_does_not_come_again(study):
    study.add_trial(create_trial(state=TrialState.FAIL))
    retry(study, study.trials[0])
    assert len(study.trials) == 1


def test_a_trial_survives_three_deaths_and_any_number_of_interruptions(study):
    for deaths in range(MAX_DEATHS + 1):
        retry(study, lose(study, "interrupted"))
        before = len(study.trials)
        retry(study, lose(study))
        assert len(study.trials) - before == (2 if deaths < MAX_DEATHS else 1)


def test_a_place_begins_with_its_recipe_and_goes_on_with_samples(study):
    enqueue_place(study, Run(SEARCH, 0, 0), Trials.of(study), RECIPES, alone=False)
    enqueue_place(study, Run(SEARCH, 1, 0), Trials.of(study), RECIPES, alone=False)
    first, second = study.trials
    assert (first.system_attrs["fixed_params"], trial_facts(first).baseline) == (RECIPES[0], True)
    assert (second.system_attrs["fixed_params"], trial_facts(second).run) == ({}, Run(SEARCH, 1, 0))
    assert not trial_facts(second).baseline


@pytest.mark.parametrize("mark", ["failed", "duplicate"])
def test_a_place_whose_trial_failed_gets_a_new_sample_as_its_next_attempt(study, mark):
    lose(study, mark, key="k")
    enqueue_place(study, Run(SEARCH, 0, 0), Trials.of(study), RECIPES, alone=False)
    again = study.trials[1]
    assert (trial_facts(again).run, again.params, again.system_attrs["fixed_params"]) == (
        Run(SEARCH, 0, 1),
        {},
        {},
    )
    assert not trial_facts(again).baseline


def test_a_place_whose_retry_got_lost_is_repaired_with_the_same_parameters(study):
    lose(study, "lost", key="k")
    enqueue_place(study, Run(SEARCH, 0, 0), Trials.of(study), RECIPES, alone=False)
    assert (trial_facts(study.trials[1]).run, study.trials[1].params) == (Run(SEARCH, 0, 0), {"x": 0.5})


def test_a_place_whose_trial_died_too_often_gets_its_next_attempt(study):
    for _ in range(MAX_DEATHS + 1):
        lose(study, key="k")
    enqueue_place(study, Run(SEARCH, 0, 0), Trials.of(study), RECIPES, alone=False)
    assert (trial_facts(study.trials[-1]).run, study.trials[-1].params) == (Run(SEARCH, 0, 1), {})


def test_a_surplus_trial_says_nothing_of_its_place(study):
    lose(study, "failed", key="k")
    lose(study, "surplus")
    enqueue_place(study, Run(SEARCH, 0, 0), Trials.of(study), RECIPES, alone=False)
    assert trial_facts(study.trials[-1]).run == Run(SEARCH, 0, 1)


def test_the_only_trial_of_a_study_keeps_its_recipe_when_it_failed(study):
    lose(study, "failed", key="k")
    enqueue_place(study, Run(SEARCH, 0, 0), Trials.of(study), RECIPES, alone=True)
    again = study.trials[-1]
    assert trial_facts(again).run == Run(SEARCH, 0, 1)
    assert again.system_attrs["fixed_params"] == RECIPES[0]
