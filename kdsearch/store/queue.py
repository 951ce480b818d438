"""What waits in Optuna's queue: new attempts at a place, and trials that came to no end."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from kdsearch.store.facts import End, TrialFacts, attributes_of, inherited, study_facts
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.trials import StudyTrial, Trials


def retry(study: optuna.Study, trial: FrozenTrial) -> None:
    """Enqueues a failed trial again for its run, where it did not fail by an exception.

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


def enqueue_place(study: optuna.Study, place: int, trials: Trials, recipes: Sequence[dict[str, Any]]) -> None:
    """Enqueues a missing place: as it was where its trial only got lost, else as a new sample."""
    recipe = recipes[place] if place < len(recipes) else None
    earlier = [trial for trial in trials.of_place(place) if trial.facts.mark != End.SURPLUS]
    if not earlier:
        baseline = {"baseline": True} if recipe else {}
        facts = TrialFacts.of_run(Run(SEARCH, place, 0), **baseline)
        study.enqueue_trial(recipe or {}, user_attrs=attributes_of(facts))
    elif trials.needs_new_attempt(earlier[-1]):
        attempt = (earlier[-1].facts.attempt or 0) + 1
        alone = study_facts(study).target == 1  # nothing else is wanted than this very trial
        again = recipe if recipe and alone else {}
        facts = TrialFacts.of_run(Run(SEARCH, place, attempt))
        study.enqueue_trial(again, user_attrs=attributes_of(facts))
    else:
        retry(study, earlier[-1].frozen)
