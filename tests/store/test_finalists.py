"""Which finalist wins, and which of its seeds is delivered."""

import numpy as np
import pytest
from optuna.trial import TrialState, create_trial

from kdsearch.store.facts import StudentFacts, TrialFacts, attributes_of
from kdsearch.store.finalists import Finalist, Finalists
from kdsearch.store.runs import FINALISTS, Candidate, Run
from kdsearch.store.trials import StudyTrial
from kdsearch.tables import FinalistsConfig

IMAGES = 400


def finalist(trial, wrong, parameters=1000):
    """Whose seeds name so many images wrong, always the first ones."""
    correct = np.arange(IMAGES) >= np.array(wrong)[:, None]
    runs = []
    for seed, row in enumerate(correct):
        student = StudentFacts(config={}, parameters=parameters, macs=1)
        facts = TrialFacts.of_run(
            Run(FINALISTS, 10 * trial + seed, 0),
            candidate=Candidate(trial=trial, epochs=3, seed=seed),
            student=student,
            val_loss=1.0,
        )
        made = create_trial(state=TrialState.COMPLETE, value=row.mean(), user_attrs=attributes_of(facts))
        runs.append(StudyTrial.of(made))
    return Finalist(trial, 3, tuple(runs), correct)


def finalists(*each, prefer="accuracy"):
    return Finalists(FinalistsConfig(prefer=prefer), each, is_complete=True)


def three():
    """The best, one that is as good and smaller, and one that is smaller still and worse."""
    return finalist(1, [20, 22, 24]), finalist(2, [21, 25, 23], 500), finalist(3, [90, 92, 91], 10)


@pytest.mark.parametrize(
    ("wrong", "median"), [([30], 0), ([30, 20], 0), ([20, 30, 10], 0), ([5, 40, 20, 10], 3), ([7, 7, 9], 1)]
)
def test_the_seed_with_the_median_accuracy_is_delivered_and_never_the_best(wrong, median):
    made = finalist(0, wrong)
    chosen = made.median.facts.candidate.seed
    if len(set(wrong)) == len(wrong):
        ordered = sorted(range(len(wrong)), key=lambda seed: -wrong[seed])
        assert chosen == ordered[(len(wrong) - 1) // 2]
    assert wrong[chosen] == sorted(wrong, reverse=True)[(len(wrong) - 1) // 2]


def test_the_best_mean_wins_and_those_that_may_be_as_good_are_named():
    best, close, bad = (
        finalist(1, [20, 22, 24]),
        finalist(2, [21, 25, 23], 500),
        finalist(3, [90, 92, 91], 10),
    )
    found = finalists(bad, close, best)
    assert [each.trial for each in found.ranked] == [1, 2, 3]
    assert found.winner is best
    assert found.equal == [best, close]
    assert found.behind[3, 3].low > 0.1


def test_the_smallest_of_the_equal_ones_wins_if_the_study_prefers_it():
    best, close, bad = (
        finalist(1, [20, 22, 24]),
        finalist(2, [21, 25, 23], 500),
        finalist(3, [90, 92, 91], 10),
    )
    assert finalists(bad, close, best, prefer="small").winner is close


def test_a_single_seed_has_no_deviation():
    assert finalist(0, [20]).deviation is None
    assert finalist(0, [20, 40]).deviation == pytest.approx(np.sqrt(2) * 10 / IMAGES)
