"""Slots: a study's N places for a finished trial, kept in Optuna's own waiting queue."""

from collections.abc import Iterable, Sequence
from itertools import count, islice
from typing import Any

from optuna.trial import FrozenTrial, Trial, TrialState

from kdsearch.store.liveness import this_worker
from kdsearch.store.runs import Slot

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
OPEN = (TrialState.WAITING, TrialState.RUNNING)
MARK = "mark"  # why a trial ended as it did: surplus, duplicate, interrupted, diverged, failed, lost


class SurplusTrialError(Exception):
    """Another trial holds or has finished this trial's slot, or it has none."""


def slot_of(trial: FrozenTrial) -> Slot | None:
    """The slot that a trial is for; None for one that was asked when the queue was just empty."""
    attributes = trial.user_attrs
    return Slot(attributes["slot"], attributes["attempt"]) if "slot" in attributes else None


def _place(trial: FrozenTrial) -> int | None:
    """The slot's place alone: of thousands of trials it is asked several times for each new one."""
    place: int | None = trial.user_attrs.get("slot")
    return place


def is_finished(trial: FrozenTrial) -> bool:
    """Whether the trial counts: complete or pruned, in a slot of the study's."""
    return trial.state in FINISHED and _place(trial) is not None


def mark_of(trial: FrozenTrial) -> str | None:
    """Why the trial ended as it did, where there is something to say."""
    mark: str | None = trial.user_attrs.get(MARK)
    return mark


def of_place(trials: Iterable[FrozenTrial], place: int) -> list[FrozenTrial]:
    """The trials of one of the study's places, by number."""
    return [trial for trial in trials if _place(trial) == place]


def claim_slot(trial: Trial, trials: Sequence[FrozenTrial], target: int) -> Slot:
    """The trial's slot, now its own. Raises SurplusTrialError where it has none or another trial has it.

    `trials` are all of the study's, by number, as they are after the trial was popped.
    """
    slot = slot_of(trials[trial.number])
    if slot is None or slot.place not in places(trials, target) or _taken(trial.number, slot, trials):
        trial.set_user_attr(MARK, "surplus")
        raise SurplusTrialError(f"trial {trial.number}: {slot}")
    trial.set_user_attr("worker", this_worker(trial.number))
    return slot


def _taken(number: int, slot: Slot, trials: Iterable[FrozenTrial]) -> bool:
    """Whether another trial has the place, or this very attempt at it has failed: the next one is due."""
    return any(
        other.state in FINISHED
        or (other.state in OPEN and other.number < number and mark_of(other) != "surplus")
        or (mark_of(other) == "failed" and slot_of(other) == slot)
        for other in of_place(trials, slot.place)
        if other.number != number
    )


def places(trials: Iterable[FrozenTrial], target: int) -> set[int]:
    """The places that count: those that are finished, and the lowest others until they are `target`."""
    finished = {place for trial in trials if is_finished(trial) and (place := _place(trial)) is not None}
    others = (place for place in count() if place not in finished)
    return finished | set(islice(others, max(0, target - len(finished))))


def missing_places(trials: Sequence[FrozenTrial], target: int) -> list[int]:
    """The places that are neither finished nor running nor waiting, lowest first."""
    held = {_place(trial) for trial in trials if trial.state != TrialState.FAIL}
    return sorted(places(trials, target) - held)


def slot_attributes(slot: Slot) -> dict[str, Any]:
    """The user attributes of a trial that is for `slot`."""
    return {"slot": slot.place, "attempt": slot.attempt}
