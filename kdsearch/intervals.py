"""The one place that makes intervals of 95 %: by a bootstrap over seeds and images, or of counts alone."""

from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
DRAWS = 10_000
TAIL = (1 + LEVEL) / 2


class Interval(NamedTuple):
    """A mean, and the bounds between which it lies in 95 of 100 repetitions."""

    mean: float
    low: float
    high: float

    @property
    def holds_zero(self) -> bool:
        return self.low <= 0 <= self.high


def accuracy_interval(correct: NDArray[np.bool_]) -> Interval:
    """The accuracy for new seeds and new images; `correct` is seeds x images."""
    mean, low, high = _bootstrap(correct.astype(np.float64))
    return Interval(mean, max(0.0, low), min(1.0, high))


def difference_interval(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> Interval:
    """How much more accurate `one` is than `other`; both are seeds x images, paired in both.

    Seeds that only one of them has are left out.
    """
    seeds = min(len(one), len(other))
    return _bootstrap(one[:seeds].astype(np.float64) - other[:seeds])


def share_interval(share: float, images: int) -> Interval:
    """The accuracy of one training for new images, where only its `share` of so many `images` is known.

    The score interval of a binomial proportion (Wilson, J. Am. Stat. Assoc. 22, 1927), from 0 to 1; it does
    not lie evenly around the share.
    """
    from scipy.stats import binomtest  # noqa: PLC0415  as in _bootstrap

    found = binomtest(round(share * images), images).proportion_ci(LEVEL, method="wilson")
    return Interval(share, float(found.low), float(found.high))


def unpaired_difference_interval(one: float, other: float, images: int) -> Interval:
    """How much more accurate `one` is than `other`, where only their shares of the same `images` are known.

    The normal interval of the difference of two independent proportions, with one right and one wrong image
    added to each so that it holds near 0 and 1 too (Agresti and Caffo, Am. Stat. 54, 2000). What is hard for
    one network is hard for the other: pairing the images, as `difference_interval` does, would make it
    narrower, so it is careful in calling a difference real.
    """
    from scipy.special import ndtri  # noqa: PLC0415  as in _bootstrap

    first, second = ((share * images + 1) / (images + 2) for share in (one, other))
    half = ndtri(TAIL) * sqrt((first * (1 - first) + second * (1 - second)) / (images + 2))
    return Interval(one - other, float(first - second - half), float(first - second + half))


def _bootstrap(values: NDArray[np.float64]) -> Interval:
    """Resamples the seeds (rows) and the images (columns) of `values` independently; its own seed is fixed.

    A row's and a column's mean both hold what is neither the row's nor the column's own, which must count
    once. A few rows spread less than all do, and nobody knows how much all do: hence the rows' deviations are
    stretched by sqrt(n / (n - 1)) and by Student's t over the normal quantile (Hesterberg,
    arXiv 1411.5279). The images of one row alone make the interval of a single seed.
    """
    seeds = len(values)
    mean = values.mean()
    rows, columns = values.mean(axis=1) - mean, values.mean(axis=0) - mean
    if seeds > 1:
        from scipy.special import ndtri, stdtrit  # noqa: PLC0415  whoever only imports this needs none of it

        spread = columns.var()
        rest = (values - mean - rows[:, None] - columns).var() * seeds / (seeds - 1)
        columns *= np.sqrt(max(0.0, 1 - rest / (seeds * spread))) if spread > 0 else 0.0
        rows *= np.sqrt(seeds / (seeds - 1)) * stdtrit(seeds - 1, TAIL) / ndtri(TAIL)
    random = np.random.default_rng(0)
    means = mean + _resampled_means(rows, random) + _resampled_means(columns, random)
    low, high = np.quantile(means, [1 - TAIL, TAIL])
    return Interval(float(mean), float(low), float(high))


def _resampled_means(values: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """DRAWS means of as many values, drawn with replacement; equal values are drawn together."""
    different, counts = np.unique(values, return_counts=True)
    drawn = random.multinomial(len(values), counts / len(values), size=DRAWS)
    means: NDArray[np.float64] = drawn @ different / len(values)
    return means
