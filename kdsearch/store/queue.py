"""A study's N places for a finished trial, kept in Optuna's own waiting queue.

A place is enqueued, again until a trial has finished there. A trial claims its place, and is refused if it
would train what another one trains.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from kdsearch.store.facts import End, TrialFacts, attributes_of, inherited, keep
from kdsearch.store.liveness import this_worker
from kdsearch.store.runs import Run
from kdsearch.store.trials import FINISHED, OPEN, StudyTrial, Trials

MAX_REFUSED = 5  # attempts at one place, then the repeat trains, with another seed


class SurplusTrialError(Exception):
    """Another trial holds or has finished this trial's place, or it has none."""


class DuplicateTrialError(Exception):
    """An equal trial config is being trained or has been; the place is asked again."""


def retry(study: optuna.Study, trial: FrozenTrial) -> None:
    """Enqueues a failed trial again for its run, if it did not fail by an exception.

    Optuna calls it for trials without a heartbeat. All facts are inherited, but not the mark. Parameters
    are inherited once all are drawn; before that they are drawn anew from the same seed, since the rest of a
    draw that was broken off would differ.
    """
    failed = StudyTrial.of(trial)
    if failed.run is None or Trials.of(study).needs_new_attempt(failed):
        return
    drawn = failed.facts.key is not None
    waiting = create_trial(
        state=TrialState.WAITING,
        params=trial.params if drawn else {},
        distributions=trial.distributions if drawn else {},
        user_attrs=inherited(trial),
        system_attrs=deepcopy(trial.system_attrs),
    )
    study.add_trial(waiting)


def enqueue_place(
    study: optuna.Study, first: Run, trials: Trials, recipes: Sequence[dict[str, Any]], *, alone: bool
) -> None:
    """Enqueues a missing place, of which `first` is the first attempt, with its recipe, else as a new sample.

    A trial that only got lost is enqueued as it was. Later attempts have the recipe only if the study
    wants this trial `alone`.
    """
    recipe = recipes[first.place] if first.place < len(recipes) else None
    earlier = [trial for trial in trials.of_place(first.place) if trial.facts.mark != End.SURPLUS]
    if not earlier:
        facts = TrialFacts.of_run(first, **({"baseline": True} if recipe else {}))
        study.enqueue_trial(recipe or {}, user_attrs=attributes_of(facts))
    elif trials.needs_new_attempt(earlier[-1]):
        run = first._replace(attempt=(earlier[-1].facts.attempt or 0) + 1)
        again = recipe if recipe and alone else {}
        study.enqueue_trial(again, user_attrs=attributes_of(TrialFacts.of_run(run)))
    else:
        retry(study, earlier[-1].frozen)


def claim_run(trial: Trial, trials: Trials, target: int) -> Run:
    """The trial's run, now its own. Raises SurplusTrialError if it has none or another trial has it.

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


def refuse_duplicate(trial: Trial, run: Run, key: str, before: Trials) -> None:
    """Raises DuplicateTrialError if a trial of another place has an equal config and came first.

    `key` is the config's. It is written before the look, so that of two that draw the same at the same time
    one sees the other. `before` are the study's trials at some earlier moment.
    """
    keep(trial, key=key)
    trials = Trials.of(trial.study, before)
    refused = sum(other.facts.mark == End.DUPLICATE for other in trials.of_place(run.place))
    rivals = [t for t in trials if t.facts.key == key and _precedes(t, trial.number, run)]
    if rivals and refused < MAX_REFUSED:
        keep(trial, mark=End.DUPLICATE)
        raise DuplicateTrialError(f"trial {trial.number} equals trial {rivals[0].number}")


def _precedes(other: StudyTrial, number: int, run: Run) -> bool:
    """Whether `other` trains or has trained its config before this trial does; one that waits had begun."""
    if other.run is None or other.run.place == run.place:
        return False
    begun = other.state == TrialState.RUNNING and other.number < number
    return begun or other.state == TrialState.WAITING or other.state in FINISHED
