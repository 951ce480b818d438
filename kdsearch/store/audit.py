"""The pruner audited: some weak trials run on to their end and show whether it was right. Loads no torch."""

from typing import Any

import optuna
from optuna.trial import TrialState

from kdsearch.config import Record

AUDITED = "audited"  # user attribute: when the trial would have stopped, and the best value of that time


class Audit(Record):
    """What the audit of a study has shown so far."""

    trials: int  # that were to be stopped, and ran on to their end
    wrong: int  # of these, above the best value of the time at which they would have stopped


def audit_mark(study: optuna.Study, epoch: int) -> dict[str, Any]:
    """What is stored as AUDITED of a trial that would stop now."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return {"epoch": epoch, "best": max((trial.value or 0.0 for trial in complete), default=0.0)}


def audit(study: optuna.Study) -> Audit:
    """Of the complete trials: one that is still running, or diverged, has shown nothing."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    ends = [((t.value or 0.0), t.user_attrs[AUDITED]["best"]) for t in complete if AUDITED in t.user_attrs]
    return Audit(trials=len(ends), wrong=sum(value > best for value, best in ends))
