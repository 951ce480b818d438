"""What the test split said, which is read once for each student that is delivered."""

from statistics import fmean

from pydantic import Field

from kdsearch.config import Record


class FinalTest(Record, extra="ignore"):
    """What the test images said of a student, when they were read."""

    accuracy: float  # 0 to 1
    images: int
    copies: int  # identical to a training image
    read: str  # the day
    seeds: tuple[float, ...] = ()  # of a finalist: the accuracies of all its seeds
    mirrored: float | None = None  # accuracy with mirrored views; None: no flip, or read by an older kdsearch
    mirrored_seeds: tuple[float, ...] = ()
    # 95 % intervals, of the fields and properties of these names
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()  # images: a row for each true class; (): older kdsearch

    @property
    def mean(self) -> float:
        """The mean over all seeds; of a student with one seed, its accuracy."""
        return fmean(self.seeds) if self.seeds else self.accuracy

    @property
    def mirrored_mean(self) -> float | None:
        """Likewise with mirrored views."""
        return fmean(self.mirrored_seeds) if self.mirrored_seeds else self.mirrored
