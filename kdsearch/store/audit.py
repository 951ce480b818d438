"""The audit of the pruner: some weak trials train to their end, which shows whether it was right."""

from kdsearch.config import Record
from kdsearch.store.facts import Audited
from kdsearch.store.trials import Trials


class Audit(Record):
    """The result of a study's audit so far."""

    trials: int  # that were to be stopped, and ran on to their end
    wrong: int  # of these, above the best value of the time at which they would have stopped


def audited(trials: Trials, epoch: int) -> Audited:
    """The facts kept with a trial that would stop now."""
    return Audited(epoch=epoch, best=max((trial.accuracy for trial in trials.ranked), default=0.0))


def audit(trials: Trials) -> Audit:
    """Of the complete trials: one that is still running, or diverged, has shown nothing."""
    ends = [(trial.accuracy, mark.best) for trial in trials.ranked if (mark := trial.facts.audited)]
    return Audit(trials=len(ends), wrong=sum(value > best for value, best in ends))
