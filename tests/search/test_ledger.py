import optuna
import pytest
from optuna.trial import TrialState, create_trial

from kdsearch.search.ledger import ledger
from kdsearch.search.slots import slot_attributes
from kdsearch.tracking.slot import Slot

IMAGES, VIEWS, HINT_LOSSES = 100, 4, ("sp",)


@pytest.fixture
def study():
    """A study of two teachers, to which trials of so many epochs are added."""
    made = optuna.create_study(direction="maximize")
    made.set_user_attr("data", {"train": IMAGES})
    made.set_user_attr("views", VIEWS)
    made.set_user_attr("teachers", {"a": {}, "b": {}})

    def add(epochs, losses, teacher="a", state=TrialState.COMPLETE):
        config = {"losses": losses, "teacher": teacher}
        trial = create_trial(
            state=state,
            value=0.5 if state == TrialState.COMPLETE else None,
            intermediate_values=dict.fromkeys(range(epochs), 0.5),
            user_attrs={"student": {"config": config}, **slot_attributes(Slot(len(made.trials), 0))},
        )
        made.add_trial(trial)
        return made

    return add


def test_views_are_answered_once_however_many_trials_read_them(study):
    for _ in range(3):
        found = study(10, {"kl": {"temperature": 4.0}})
    told = ledger(found, HINT_LOSSES)
    assert told.answered == IMAGES * VIEWS * 2
    assert told.in_every_step == 3 * 10 * IMAGES


def test_an_average_asks_all_its_teachers_and_pruned_epochs_count(study):
    found = study(2, {"kl": {}}, teacher="a+b", state=TrialState.PRUNED)
    assert ledger(found, HINT_LOSSES).in_every_step == 2 * IMAGES * 2


def test_maps_are_answered_live(study):
    found = study(5, {"kl": {}, "sp": {"layer": "last"}})
    assert ledger(found, HINT_LOSSES).answered == IMAGES * VIEWS * 2 + 5 * IMAGES


def test_without_a_loss_and_without_an_end_nobody_is_asked(study):
    study(5, {})
    found = study(3, {"kl": {}}, state=TrialState.FAIL)
    assert ledger(found, HINT_LOSSES).in_every_step == 0
