"""What samples trials and what stops weak ones, by the names that a study file uses."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from kdsearch.store.record import StudyRecord

STARTUP_TRIALS = 10  # complete ones, before a sampler learns from them, and before any trial is stopped
MIN_TRIALS = 5  # complete ones that have the epoch in question

# Whether a trial should stop that has reached these accuracies, one for each epoch from 0 to now.
Pruner = Callable[[Sequence[float]], bool]


def tpe(seed: int) -> BaseSampler:
    """Multivariate; counts running trials as bad, so that workers spread."""
    return TPESampler(seed=seed % 2**32, n_startup_trials=STARTUP_TRIALS)


def uniform(seed: int) -> BaseSampler:
    """Draws from each range and choice without a look at other trials."""
    return RandomSampler(seed=seed % 2**32)


# Each run gets a sampler of its own, made from the run's seed: all else that a draw depends on has to be in
# the study's finished trials, so that an interruption changes nothing. A sampler that counts its own draws
# (QMC) or keeps a state (CMA-ES) would begin anew in every run.
SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {"tpe": tpe, "random": uniform}


def warmup_epochs(epochs: int) -> int:
    """Epochs before anything is pruned: 30 % of them and at least 3, since distillation starts slowly."""
    return max(3, math.ceil(0.3 * epochs))


class Median:
    """The median stopping rule of Google Vizier (KDD 2017, section 3.2), as Optuna's MedianPruner has it.

    A trial stops if its best accuracy so far is below the median of what the complete trials had after
    the same epoch. It remembers their curves, so that a question is one statement.
    """

    def __init__(self, record: StudyRecord) -> None:
        self.record = record
        self.complete: dict[int, dict[int, float]] = {}  # accuracies by epoch, by Optuna's id of the trial

    def __call__(self, curve: Sequence[float]) -> bool:
        """Whether the trial of this curve should stop."""
        self.complete |= self.record.complete_curves(self.complete.keys())
        if len(self.complete) < STARTUP_TRIALS:
            return False
        epoch = len(curve) - 1
        own = [accuracy for accuracy in curve if not math.isnan(accuracy)]
        others = [other[epoch] for other in self.complete.values() if epoch in other]
        known = [accuracy for accuracy in others if not math.isnan(accuracy)]
        if not own or len(others) < MIN_TRIALS or not known:
            return not own
        return max(own) < float(np.percentile(known, 50))


def never(curve: Sequence[float]) -> bool:
    """Stops no trial."""
    return False


PRUNERS: dict[str, Callable[[StudyRecord], Pruner]] = {"median": Median, "none": lambda record: never}
