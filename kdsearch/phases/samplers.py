"""Optuna's samplers and pruners by the names that a study file uses."""

import copy
import math

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from kdsearch.store.facts import trial_facts

STARTUP_TRIALS = 10


def make_sampler(name: str, seed: int) -> BaseSampler:
    """A fresh sampler; TPE is multivariate, and counts running trials as bad so that workers spread."""
    if name == "random":
        return RandomSampler(seed=seed % 2**32)
    return TPESampler(seed=seed % 2**32, n_startup_trials=STARTUP_TRIALS)


def warmup_epochs(epochs: int) -> int:
    """Epochs before anything is pruned: 30 % of them and at least 3, since distillation starts slowly."""
    return max(3, math.ceil(0.3 * epochs))


class SlotHyperband(HyperbandPruner):
    """Hyperband (arXiv 1603.06560, 2016) to which a trial that was resumed is the same trial.

    Optuna's own takes the bracket from the trial's number, which is another one after a resume, and lets what
    a trial had reached before that compete a second time.
    """

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        if trial.state == TrialState.FAIL:
            return -1  # no bracket
        run = trial_facts(trial).run
        if run is None:
            return super()._get_bracket_id(study, trial)
        stand_in = copy.copy(trial)
        stand_in.number = run.place
        return super()._get_bracket_id(study, stand_in)


def make_pruner(name: str, epochs: int) -> BasePruner:
    """The pruner of a study whose trials last up to `epochs`.

    None is asked before a trial's own warm-up is over: the longest trial's would spare the short ones.
    """
    if name == "none":
        return NopPruner()
    if name == "hyperband":
        return SlotHyperband(min_resource=min(warmup_epochs(epochs), epochs), max_resource=epochs)
    return MedianPruner(STARTUP_TRIALS, n_warmup_steps=0, n_min_trials=5)
