import math

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from kdsearch.search.pruning import ExtrapolationPruner, foretold

EARLY = np.array([0.30, 0.35, 0.42, 0.44, 0.50])
FINAL = np.array([0.61, 0.64, 0.66, 0.70, 0.71])


@pytest.fixture
def study():
    """Five complete trials of two epochs, whose best value is 0.71."""
    made = optuna.create_study(direction="maximize")
    for early, final in zip(EARLY, FINAL, strict=True):
        made.add_trial(create_trial(value=final, intermediate_values={0: early, 1: final}))
    return made


def stopped(study, accuracy, epoch=0, startup=5, deviations=3.0):
    values = {epoch: accuracy} if epoch is not None else {}
    trial = create_trial(state=TrialState.RUNNING, intermediate_values=values)
    return ExtrapolationPruner(startup, deviations).prune(study, trial)


@pytest.mark.parametrize("now", [0.1, 0.42, 0.9])
def test_the_line_and_its_error_are_those_of_the_normal_equations(now):
    design = np.stack([np.ones(5), EARLY], axis=1)
    inverse, new = np.linalg.inv(design.T @ design), np.array([1.0, now])
    line = inverse @ design.T @ FINAL
    variance = ((FINAL - design @ line) ** 2).sum() / 3
    assert foretold(EARLY, FINAL, now) == pytest.approx(
        (new @ line, math.sqrt(variance * (1 + new @ inverse @ new)))
    )


def test_a_trial_that_cannot_become_the_best_is_stopped(study):
    line, error = foretold(EARLY, FINAL, 0.1)
    assert line + 7 * error < FINAL.max() < line + 8 * error
    assert stopped(study, 0.1, deviations=7.0)
    assert not stopped(study, 0.1, deviations=8.0)


def test_a_trial_as_good_as_the_best_goes_on(study):
    assert not stopped(study, 0.5, deviations=1.0)


def test_nothing_is_stopped_before_enough_trials_are_complete(study):
    assert stopped(study, -1.0)
    assert not stopped(study, -1.0, startup=6)


def test_what_ends_meanwhile_counts_from_the_next_trial_on(study):
    pruner = ExtrapolationPruner(5, deviations=1.0)
    trial = study.ask()
    trial.report(0.5, 0)
    running = study.trials[trial.number]
    assert not pruner.prune(study, running)
    for early in (0.48, 0.5, 0.52):
        study.add_trial(create_trial(value=0.99 + early / 100, intermediate_values={0: early + 0.4}))
    assert not pruner.prune(study, running)
    other = study.ask()
    other.report(0.5, 0)
    assert pruner.prune(study, study.trials[other.number])


def test_trials_that_are_not_complete_foretell_nothing(study):
    for state in (TrialState.RUNNING, TrialState.PRUNED, TrialState.FAIL):
        value = 0.9 if state == TrialState.PRUNED else None
        study.add_trial(create_trial(state=state, value=value, intermediate_values={0: 0.9}))
    assert not stopped(study, -1.0, startup=6)


def test_trials_that_ended_before_that_epoch_foretell_nothing(study):
    assert not stopped(study, -1.0, epoch=2)


@pytest.mark.parametrize(("accuracy", "epoch"), [(math.nan, 0), (0.0, None)])
def test_a_trial_that_says_nothing_goes_on(study, accuracy, epoch):
    assert not stopped(study, accuracy, epoch)


def test_equal_beginnings_foretell_nothing():
    study = optuna.create_study(direction="maximize")
    for final in FINAL:
        study.add_trial(create_trial(value=final, intermediate_values={0: 0.25}))
    assert not stopped(study, 0.1)
