"""Solves for a student's width, so that every sampled student fits the budget."""

from bisect import bisect_right

from kdsearch.errors import UsageError
from kdsearch.models.measure import macs_of, parameters_of
from kdsearch.models.student import StudentConfig

GRAIN = 16  # widths are multiples of 1/16: with growth, a whole step of the stem is many channels of the last
PROBE = 16 * GRAIN  # from which the first guess is made


def solve_width(
    config: StudentConfig,
    max_params: int,
    fraction: float = 1.0,
    *,
    max_macs: int | None = None,
    image_size: int = 0,
) -> StudentConfig:
    """`config` with the width that fits into `fraction * max_params` while the next one, 1/16 more, does not.

    With `max_macs` the width falls until one image of `image_size` pixels costs no more multiply-adds. No
    channel count falls when the width grows, so this is the largest width that fits, unless more channels
    make a family's block smaller. Raises UsageError if even width 1 does not fit.
    """
    budget = int(max_params * fraction)

    def at(grains: int) -> StudentConfig:
        return config.model_copy(update={"width": grains / GRAIN})

    def count(grains: int) -> int:
        return parameters_of(at(grains))

    def macs(grains: int) -> int:
        return macs_of(at(grains), image_size)

    smallest = f"family {config.family!r} of depths {config.depths}: at least"
    if count(GRAIN) > budget:
        raise UsageError(
            f"{smallest} {count(GRAIN):,} parameters, more than {budget:,}; "
            "raise budget.max_params, or allow fewer blocks or less growth"
        )
    # Parameters grow about as the square of the width: that guess saves most of the counting.
    low = high = max(GRAIN, int(PROBE * (budget / count(PROBE)) ** 0.5))
    step = 1
    while count(low) > budget:
        low, step = max(GRAIN, low - step), 2 * step
    step = 1
    while count(high) <= budget:
        high, step = high + step, 2 * step
    grains = low + bisect_right(range(low + 1, high), budget, key=count)
    if max_macs is None or macs(grains) <= max_macs:
        return at(grains)
    if macs(GRAIN) > max_macs:
        raise UsageError(
            f"{smallest} {macs(GRAIN):,} multiply-adds, more than {max_macs:,}; "
            "raise budget.max_macs, or allow fewer blocks or an earlier halving"
        )
    return at(GRAIN + bisect_right(range(GRAIN + 1, grains), max_macs, key=macs))
