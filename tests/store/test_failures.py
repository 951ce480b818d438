import pytest
from optuna.trial import TrialState, create_trial

from kdsearch.errors import SearchError
from kdsearch.mirror.study_rows import trial_rows
from kdsearch.store.status import standing
from kdsearch.store.trials import Trials, check_failures

KINDS = {
    "c": {"state": TrialState.COMPLETE, "value": 0.5},
    "f": {"state": TrialState.FAIL, "mark": "failed"},
    "d": {"state": TrialState.FAIL, "mark": "duplicate"},
    "s": {"state": TrialState.FAIL, "mark": "surplus"},
    "i": {"state": TrialState.FAIL, "mark": "interrupted"},
    "l": {"state": TrialState.FAIL, "mark": "lost"},
    "r": {"state": TrialState.RUNNING},
}


@pytest.fixture
def check(create):
    """Adds a trial for each letter of KINDS, in places of their own but for the lost, and checks them."""
    study = create()

    def check(kinds, since=0, target=100):
        for kind in kinds:
            facts, number = dict(KINDS[kind]), len(study.trials)
            attributes = {"slot": 0 if kind == "l" else number, "attempt": 0, "mark": facts.pop("mark", None)}
            if kind == "f":
                attributes["reason"] = f"reason {number}"
            study.add_trial(create_trial(**facts, user_attrs=attributes))
        check_failures(Trials.of(study), since, target)
        return study

    return check


@pytest.mark.parametrize("kinds", ["", "ffff", "ffffcffff", "dddddd", "iiiiii", "lll", "llllc"])
def test_a_search_goes_on_after(check, kinds):
    check(kinds)


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [("fffff", "reason 4"), ("cfffff", "reason 5"), ("fdfsfifrf", "reason 8"), ("fffflfll", "reason 5")],
)
def test_five_failures_in_a_row_end_it(check, kinds, reason):
    with pytest.raises(SearchError, match=f"^5 trials in a row failed; the last one: {reason}$"):
        check(kinds)


def test_a_trial_that_dies_once_more_than_it_is_retried_is_a_failure(check):
    check("ffffclll" + "ffff"[:3])
    with pytest.raises(SearchError, match=r"the last one: lost its worker process 4 times$"):
        check("fl")


def test_more_than_ten_and_a_tenth_of_the_target_end_it(check):
    check("ffc" * 6, target=20)
    with pytest.raises(SearchError, match=r"^13 of 19 trials failed; the last one: reason 18$"):
        check("f", target=20)


def test_what_failed_in_an_earlier_run_is_forgiven(check):
    check("ffff", since=4)
    check("ffff", since=4)


def test_mlflow_is_told_of_the_failures_that_status_counts(check):
    trials = Trials.of(check("fcllldilf"))
    failed = [row.number for row in trial_rows(trials) if row.failed]
    assert failed == [0, 7, 8]
    assert standing(9, trials).failed == len(failed)
