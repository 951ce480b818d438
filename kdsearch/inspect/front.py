"""The front of a study: its most accurate complete trials for each size, and what of that may be noise."""

from collections.abc import Sequence

import optuna

from kdsearch.config import Record
from kdsearch.errors import NothingFinishedError
from kdsearch.intervals import share_interval, unpaired_difference_interval
from kdsearch.store.facts import study_facts
from kdsearch.store.trials import Size, StudyTrial, Trials


class FrontRow(Record):
    """One complete trial; shares of the validation images from 0 to 1."""

    trial: int
    parameters: int
    macs: int
    accuracy: float
    low: float  # 95 % interval of this accuracy alone
    high: float
    family: str  # or the name of a published network
    loss: str
    front: bool
    noise: bool  # on the front, though nobody can say that it is better than a smaller one

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


class Front(Record):
    """All complete trials of a study, smallest first; there is at least one."""

    study: str
    by: Size
    validation_images: int
    rows: tuple[FrontRow, ...]

    @property
    def points(self) -> list[FrontRow]:
        """Those on the front, smallest and least accurate first."""
        return [row for row in self.rows if row.front]


def front_of(study: optuna.Study, by: Size) -> Front:
    """Raises NothingFinishedError before the first complete trial."""
    trials, images = Trials.of(study), study_facts(study).data.validation
    if trials.best is None:
        raise NothingFinishedError(
            f"study {study.study_name!r} has no finished trial to show yet; 'kdsearch run' trains some"
        )
    points = trials.front(by)
    front, noise = {point.number for point in points}, noisy(points, images)
    rows = tuple(
        _row(trial, images, front=trial.number in front, noise=trial.number in noise)
        for trial in trials.smallest_first(by)
    )
    return Front(study=study.study_name, by=by, validation_images=images, rows=rows)


def noisy(points: Sequence[StudyTrial], images: int) -> set[int]:
    """The numbers of those points of a front, smallest first, whose gain may be chance.

    The gain is that over the largest smaller point that is not one of them, on so many validation images.
    Which images a trial of the search names right is not kept, so the accuracies are compared unpaired.
    """
    found: set[int] = set()
    sure = points[0]
    for point in points[1:]:
        if unpaired_difference_interval(point.accuracy, sure.accuracy, images).holds_zero:
            found.add(point.number)
        else:
            sure = point
    return found


def _row(trial: StudyTrial, images: int, *, front: bool, noise: bool) -> FrontRow:
    student, interval = trial.facts.student, share_interval(trial.accuracy, images)
    assert student is not None, "a complete trial has one"
    return FrontRow(
        trial=trial.number,
        parameters=student.parameters,
        macs=student.macs,
        accuracy=trial.accuracy,
        low=interval.low,
        high=interval.high,
        family=student.family,
        loss=student.loss,
        front=front,
        noise=noise,
    )
