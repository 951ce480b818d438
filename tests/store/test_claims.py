import pytest
from optuna.trial import TrialState, create_trial

from kdsearch.store.facts import trial_facts
from kdsearch.store.queue import SurplusTrialError, claim_run
from kdsearch.store.trials import Trials

COMPLETE, FAIL, WAITING, RUNNING = (
    TrialState.COMPLETE,
    TrialState.FAIL,
    TrialState.WAITING,
    TrialState.RUNNING,
)


@pytest.fixture
def add(create):
    study = create()

    def one(place, state, attempt=0, **attributes):
        slot = {} if place is None else {"slot": place, "attempt": attempt}
        value = 0.5 if state == COMPLETE else None
        study.add_trial(create_trial(state=state, value=value, user_attrs={**slot, **attributes}))
        return study

    return one


def claim(study, target=4):
    """Pops a trial as `optimize` does and claims its slot; returns the trial's number."""
    study._thread_local.in_optimize_loop = True
    trial = study.ask()
    claim_run(trial, Trials.of(study), target)
    return trial.number


def test_a_waiting_trial_gets_its_slot_and_the_worker_s_mark(add):
    study = add(2, WAITING)
    assert claim(study) == 0
    assert trial_facts(study.trials[0]).worker.trial == 0


@pytest.mark.parametrize(
    ("place", "other"),
    [(None, None), (4, None), (1, COMPLETE), (1, RUNNING), (1, TrialState.PRUNED)],
    ids=["no slot", "beyond the target", "finished", "running", "pruned"],
)
def test_a_surplus_trial_is_refused_and_marked(add, place, other):
    if other is not None:
        add(place, other)
    study = add(place, WAITING)
    with pytest.raises(SurplusTrialError):
        claim(study)
    assert trial_facts(study.trials[-1]).mark == "surplus"
    assert trial_facts(study.trials[-1]).worker is None


def test_an_attempt_that_failed_by_itself_is_not_run_again(add):
    add(1, FAIL, mark="failed")
    with pytest.raises(SurplusTrialError):
        claim(add(1, WAITING))
    assert claim(add(1, WAITING, attempt=1)) == 2


def test_a_lost_slot_can_be_claimed_again(add):
    add(1, FAIL, mark="lost")
    assert claim(add(1, WAITING)) == 1


def test_of_two_that_wait_for_a_slot_the_lower_number_gets_it(add):
    add(1, WAITING)
    study = add(1, WAITING)
    assert claim(study) == 0
    with pytest.raises(SurplusTrialError):
        claim(study)


def test_missing_places_are_neither_finished_nor_running_nor_waiting(add):
    add(0, COMPLETE)
    add(1, RUNNING)
    add(2, WAITING)
    study = add(3, FAIL, mark="lost")
    assert Trials.of(study).missing_places(6) == [3, 4, 5]


def test_a_lowered_target_counts_what_was_finished_beyond_it(add):
    for place in (0, 1, 7):
        study = add(place, COMPLETE)
    trials = Trials.of(study)
    assert trials.places(5) == {0, 1, 2, 3, 7}
    assert trials.places(2) == {0, 1, 7}
    assert trials.places(9) == {0, 1, 2, 3, 4, 5, 6, 7, 8}


def test_a_trial_without_a_slot_has_none(add):
    assert trial_facts(add(None, COMPLETE).trials[0]).run is None
