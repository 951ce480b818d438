"""A trial that would train what another one trains or has trained is refused, and its place asked again."""

from optuna.trial import Trial, TrialState

from kdsearch.store.facts import End, keep
from kdsearch.store.runs import Run
from kdsearch.store.trials import FINISHED, StudyTrial, Trials

MAX_REFUSED = 5  # attempts at one place, then the repeat trains, with another seed


class DuplicateTrialError(Exception):
    """An equal trial config is being trained or has been."""


def refuse_duplicate(trial: Trial, run: Run, key: str, before: Trials) -> None:
    """Raises DuplicateTrialError where a trial of another place has an equal config and came first.

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
