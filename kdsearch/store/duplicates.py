"""A trial that would train what another one trains or has trained is refused, and its slot asked again."""

from optuna.trial import FrozenTrial, Trial, TrialState

from kdsearch.store.queue import KEY
from kdsearch.store.runs import Slot
from kdsearch.store.slots import FINISHED, MARK, mark_of, of_place, slot_of

MAX_REFUSED = 5  # attempts in one slot, then the repeat trains, with another seed


class DuplicateTrialError(Exception):
    """An equal trial config is being trained or has been."""


def refuse_duplicate(trial: Trial, slot: Slot, key: str) -> None:
    """Raises DuplicateTrialError where a trial of another slot has an equal config and came first.

    `key` is the config's. It is written before the look, so that of two that draw the same at the same time
    one sees the other.
    """
    trial.set_user_attr(KEY, key)
    trials = trial.study.get_trials(deepcopy=False)
    refused = sum(mark_of(other) == "duplicate" for other in of_place(trials, slot.place))
    rivals = [t for t in trials if t.user_attrs.get(KEY) == key and _precedes(t, trial.number, slot)]
    if rivals and refused < MAX_REFUSED:
        trial.set_user_attr(MARK, "duplicate")
        raise DuplicateTrialError(f"trial {trial.number} equals trial {rivals[0].number}")


def _precedes(other: FrozenTrial, number: int, slot: Slot) -> bool:
    """Whether `other` trains or has trained its config before this trial does; one that waits had begun."""
    held = slot_of(other)
    if held is None or held.place == slot.place:
        return False
    begun = other.state == TrialState.RUNNING and other.number < number
    return begun or other.state == TrialState.WAITING or other.state in FINISHED
