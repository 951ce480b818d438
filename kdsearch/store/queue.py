"""Enqueues trials in Optuna's queue: new attempts at a place, and interrupted trials."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from kdsearch.store.facts import End, TrialFacts, attributes_of, inherited
from kdsearch.store.runs import Run
from kdsearch.store.trials import StudyTrial, Trials


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
