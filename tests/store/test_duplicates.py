import pytest
from optuna.trial import TrialState, create_trial

from kdsearch.store.facts import trial_facts
from kdsearch.store.queue import MAX_REFUSED, DuplicateTrialError, refuse_duplicate
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.trials import Trials
from kdsearch.study.trial_config import TrialConfig

NONE = Trials([])
SLOT = Run(SEARCH, 1, 0)


@pytest.fixture
def study(create):
    return create()


@pytest.fixture
def config(small):
    study = small()
    student = study.student.make({"family": "plain", "depth_1": 1}).student({"kernel": 3}, 10, 8)
    return TrialConfig(student=student, training=study.training.make({}))


def add(study, state, key, place=0, **attributes):
    value = 0.5 if state == TrialState.COMPLETE else None
    attributes = {"slot": place, "attempt": 0, "key": key, **attributes}
    study.add_trial(create_trial(state=state, value=value, user_attrs=attributes))


def ask(study, place=1):
    """A running trial of that place."""
    study.enqueue_trial({}, user_attrs={"slot": place, "attempt": 0})
    study._thread_local.in_optimize_loop = True
    return study.ask()


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING])
def test_what_another_trial_trains_or_has_trained_is_refused(study, config, state):
    add(study, state, config.key)
    trial = ask(study)
    with pytest.raises(DuplicateTrialError, match="trial 1 equals trial 0"):
        refuse_duplicate(trial, SLOT, config.key, NONE)
    assert trial_facts(study.trials[1]).mark == "duplicate"


def test_what_a_trial_that_waits_to_go_on_trains_is_refused(study, config):
    trial = ask(study)
    add(study, TrialState.WAITING, config.key)
    with pytest.raises(DuplicateTrialError):
        refuse_duplicate(trial, SLOT, config.key, NONE)


def test_what_only_a_failed_trial_trained_is_not_refused(study, config):
    add(study, TrialState.FAIL, config.key, mark="failed")
    trial = ask(study)
    refuse_duplicate(trial, SLOT, config.key, NONE)
    assert trial_facts(study.trials[1]).key == config.key


def test_another_config_is_not_refused(study, config):
    add(study, TrialState.COMPLETE, config.key)
    refuse_duplicate(ask(study), SLOT, config.model_copy(update={"alpha": 0.5}).key, NONE)


def test_a_trial_does_not_rival_its_own_slot(study, config):
    add(study, TrialState.FAIL, config.key, place=1, mark="lost")
    trial = ask(study)
    add(study, TrialState.WAITING, config.key, place=1)
    refuse_duplicate(trial, SLOT, config.key, NONE)


def test_of_two_that_draw_the_same_at_the_same_time_the_lower_number_trains(study, config):
    first, second = ask(study), ask(study, place=2)
    refuse_duplicate(first, SLOT, config.key, NONE)
    with pytest.raises(DuplicateTrialError):
        refuse_duplicate(second, Run(SEARCH, 2, 0), config.key, NONE)


def test_after_five_refusals_in_a_slot_the_repeat_trains(study, config):
    add(study, TrialState.COMPLETE, config.key)
    for _ in range(MAX_REFUSED):
        trial = ask(study)
        with pytest.raises(DuplicateTrialError):
            refuse_duplicate(trial, SLOT, config.key, NONE)
        study.tell(trial, state=TrialState.FAIL)
    refuse_duplicate(ask(study), SLOT, config.key, NONE)
