"""Which trial has a place: a study's N places for a finished trial are kept in Optuna's own waiting queue."""

from optuna.trial import Trial

from kdsearch.store.facts import End, keep
from kdsearch.store.liveness import this_worker
from kdsearch.store.runs import Run
from kdsearch.store.trials import FINISHED, OPEN, Trials


class SurplusTrialError(Exception):
    """Another trial holds or has finished this trial's place, or it has none."""


def claim_run(trial: Trial, trials: Trials, target: int) -> Run:
    """The trial's run, now its own. Raises SurplusTrialError where it has none or another trial has it.

    `trials` are the study's as they are after the trial was popped.
    """
    run = trials[trial.number].run
    if run is None or run.place not in trials.places(target) or _is_taken(trial.number, run, trials):
        keep(trial, mark=End.SURPLUS)
        raise SurplusTrialError(f"trial {trial.number}: {run}")
    keep(trial, worker=this_worker(trial.number))
    return run


def _is_taken(number: int, run: Run, trials: Trials) -> bool:
    """Whether another trial has the place, or this very attempt at it has failed: the next one is due."""
    return any(
        other.state in FINISHED
        or (other.state in OPEN and other.number < number and other.facts.mark != End.SURPLUS)
        or (other.facts.mark == End.FAILED and other.run == run)
        for other in trials.of_place(run.place)
        if other.number != number
    )
