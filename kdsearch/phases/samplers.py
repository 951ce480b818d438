"""Optuna's samplers by the names that a study file uses."""

from collections.abc import Callable

from optuna.samplers import BaseSampler, RandomSampler, TPESampler

STARTUP_TRIALS = 10


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
