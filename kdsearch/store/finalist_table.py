"""A study's finalists, as the terminal shows them."""

import optuna

from kdsearch.config import Record
from kdsearch.store.finalists import Finalist, Finalists, finalists_of


class FinalistRow(Record):
    """One finalist, as a table shows it; shares of the validation images from 0 to 1."""

    trial: int  # of the search, that it repeats
    epochs: int
    seeds: int  # complete trainings
    mean: float
    deviation: float | None
    interval: tuple[float, float]
    behind: tuple[float, float] | None  # interval of the best one's lead; None for the best
    parameters: int
    macs: int
    family: str
    loss: str

    @property
    def is_equal(self) -> bool:
        """Whether it cannot be told apart from the best."""
        return self.behind is None or self.behind[0] <= 0 <= self.behind[1]


class FinalistTable(Record):
    """The finalists of a study, best mean first."""

    rows: tuple[FinalistRow, ...]
    winner: int | None  # the number of the winner's trial; None: not all are trained yet
    prefer: str


def finalist_table(study: optuna.Study) -> FinalistTable | None:
    """The study's finalists; None if none is trained."""
    found = finalists_of(study)
    if found is None:
        return None
    winner = found.winner.trial if found.is_complete else None
    rows = tuple(_row(found, finalist) for finalist in found.ranked)
    return FinalistTable(rows=rows, winner=winner, prefer=found.config.prefer)


def _row(finalists: Finalists, finalist: Finalist) -> FinalistRow:
    behind = finalists.behind.get((finalist.trial, finalist.epochs))
    student = finalist.student
    return FinalistRow(
        trial=finalist.trial,
        epochs=finalist.epochs,
        seeds=len(finalist.runs),
        mean=finalist.mean,
        deviation=finalist.deviation,
        interval=(finalist.interval.low, finalist.interval.high),
        behind=(behind.low, behind.high) if behind else None,
        parameters=student.parameters,
        macs=student.macs,
        family=student.family,
        loss=student.loss,
    )
