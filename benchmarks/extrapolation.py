"""A pruner of our own that `pruners.py` compares: it stops what it foretells not to become the best."""

import math

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState


class ExtrapolationPruner(BasePruner):
    """Stops a trial whose final accuracy, as far as its latest epoch foretells it, is below the best.

    The final accuracy of the complete trials is regressed on their accuracy at that epoch. A trial stops
    where the line's value plus `deviations` standard errors of a prediction is below the best so far; none
    does before `startup` trials, at least 3, are complete that have that epoch.
    """

    def __init__(self, startup: int, deviations: float) -> None:
        self.startup, self.deviations = startup, deviations

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """As BasePruner, in a study that maximises."""
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        epoch = trial.last_step
        pairs = [
            (each.intermediate_values[epoch], each.value)
            for each in complete
            if epoch in each.intermediate_values
        ]
        if epoch is None or len(pairs) < self.startup:
            return False
        early, final = np.array(pairs).T
        line, error = foretold(early, final, trial.intermediate_values[epoch])
        return line + self.deviations * error < float(final.max())


def foretold(early: NDArray[np.float64], final: NDArray[np.float64], now: float) -> tuple[float, float]:
    """What the least squares line through (early, final) says at `now`, and the standard error of that.

    The error is that of a new observation (Draper and Smith, Applied Regression Analysis, section 3.1); it is
    infinite where all of `early` are equal.
    """
    away, count = early - early.mean(), len(early)
    spread = float(away @ away)
    if spread == 0:
        return float(final.mean()), math.inf
    slope, distance = float(away @ final) / spread, now - float(early.mean())
    rest = final - final.mean() - slope * away
    variance = float(rest @ rest) / (count - 2) * (1 + 1 / count + distance**2 / spread)
    return float(final.mean()) + slope * distance, math.sqrt(variance)
