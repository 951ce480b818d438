"""What waits in Optuna's queue: new attempts at a slot, and trials that came to no end."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from kdsearch.store.runs import Slot
from kdsearch.store.slots import MARK, mark_of, of_place, slot_attributes, slot_of

MAX_DEATHS = 3  # that a trial survives
KEY = "key"  # user attribute: what the trial trains; it is there once all parameters are drawn


def retry(study: optuna.Study, trial: FrozenTrial) -> None:
    """Enqueues a failed trial again in its slot and attempt, where it did not fail by itself.

    Optuna calls it for trials without a heartbeat. The values so far are inherited, the mark is not.
    Parameters are inherited once all are drawn; before that they are drawn anew from the same seed, since the
    rest of a draw that was broken off would differ.
    """
    if slot_of(trial) is None or needs_new_attempt(trial, study.get_trials(deepcopy=False)):
        return
    drawn = KEY in trial.user_attrs
    waiting = create_trial(
        state=TrialState.WAITING,
        params=trial.params if drawn else {},
        distributions=trial.distributions if drawn else {},
        user_attrs={name: value for name, value in trial.user_attrs.items() if name != MARK},
        system_attrs=deepcopy(trial.system_attrs),
        intermediate_values=trial.intermediate_values,
    )
    study.add_trial(waiting)


def needs_new_attempt(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
    """Whether a failed trial failed by itself, was refused, or has died too often."""
    return mark_of(trial) in ("failed", "duplicate", "surplus") or died_too_often(trial, trials)


def died_too_often(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
    """Whether the trial died, and this slot and attempt had died MAX_DEATHS times before."""
    slot = slot_of(trial)
    if slot is None or not _died(trial):
        return False
    before = [t for t in of_place(trials, slot.place) if t.number < trial.number and _died(t)]
    return sum(slot_of(other) == slot for other in before) >= MAX_DEATHS


def _died(trial: FrozenTrial) -> bool:
    """Whether its worker died; a mark that the worker still made before it did so may say `diverged`."""
    return trial.state == TrialState.FAIL and mark_of(trial) in (None, "lost", "diverged")


def enqueue_place(
    study: optuna.Study, place: int, trials: Sequence[FrozenTrial], recipes: Sequence[dict[str, Any]]
) -> None:
    """Enqueues a missing place: as it was where its trial only got lost, else as a new sample."""
    recipe = recipes[place] if place < len(recipes) else None
    earlier = [trial for trial in of_place(trials, place) if mark_of(trial) != "surplus"]
    if not earlier:
        attributes = slot_attributes(Slot(place, 0))
        study.enqueue_trial(
            recipe or {}, user_attrs={**attributes, "baseline": True} if recipe else attributes
        )
    elif needs_new_attempt(earlier[-1], trials):
        attempt: int = earlier[-1].user_attrs["attempt"] + 1
        alone = study.user_attrs.get("target") == 1  # nothing else is wanted than this very trial
        again = recipe if recipe and alone else {}
        study.enqueue_trial(again, user_attrs=slot_attributes(Slot(place, attempt)))
    else:
        retry(study, earlier[-1])
