import pytest
from optuna.trial import TrialState, create_trial

from kdsearch.store.facts import DataFacts, StudentFacts, StudyFacts, TeacherFacts, TrialFacts
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.status import ledger
from kdsearch.store.trials import StudyTrial, Trials

IMAGES, VIEWS, HINT_LOSSES = 100, 4, ("sp",)


@pytest.fixture
def asked():
    """Adds a trial of so many epochs to a study of two teachers, and gives the ledger."""
    teacher = TeacherFacts(model="resnet18", origin="trained", parameters=1, accuracy=0.9, fingerprint="a")
    data = DataFacts(
        name="digits", fingerprint="f", train=IMAGES, validation=1, classes=("0",), image_size=8, channels=1
    )
    teachers = {"a": teacher, "b": teacher}
    facts = StudyFacts(data=data, views=VIEWS, params={}, study={}, teachers=teachers)
    trials = []

    def add(epochs, losses, teacher="a", state=TrialState.COMPLETE):
        trial = create_trial(
            state=state,
            value=0.5 if state == TrialState.COMPLETE else None,
            intermediate_values={epochs - 1: 0.5} if state == TrialState.PRUNED else {},
        )
        own = {"epochs": 99 if state == TrialState.PRUNED else epochs}
        config = {"losses": losses, "teacher": teacher, "training": own}
        student = StudentFacts(config=config, parameters=1, macs=1)
        run = Run(SEARCH, len(trials), 0)
        trials.append(StudyTrial(trial, TrialFacts.of_run(run, student=student)))
        return ledger(facts, [Trials(trials)], HINT_LOSSES)

    return add


def test_views_are_answered_once_however_many_trials_read_them(asked):
    for _ in range(3):
        found = asked(10, {"kl": {"temperature": 4.0}})
    assert found.answered == IMAGES * VIEWS * 2
    assert found.in_every_step == 3 * 10 * IMAGES


def test_an_average_asks_all_its_teachers_and_pruned_epochs_count(asked):
    found = asked(2, {"kl": {}}, teacher="a+b", state=TrialState.PRUNED)
    assert found.in_every_step == 2 * IMAGES * 2


def test_maps_are_answered_live(asked):
    found = asked(5, {"kl": {}, "sp": {"layer": "last"}})
    assert found.answered == IMAGES * VIEWS * 2 + 5 * IMAGES


def test_without_a_loss_and_without_an_end_nobody_is_asked(asked):
    asked(5, {})
    found = asked(3, {"kl": {}}, state=TrialState.FAIL)
    assert found.in_every_step == 0
