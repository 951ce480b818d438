"""Solves for a student's width, so that every sampled student fits the budget."""

from bisect import bisect_right

from kdsearch.errors import UsageError
from kdsearch.models.measure import parameters_of
from kdsearch.models.student import StudentConfig

PROBE = 16  # the width from which the first guess is made


def solve_width(config: StudentConfig, max_params: int, fraction: float = 1.0) -> StudentConfig:
    """`config` with the width that fits into `fraction * max_params` while the next one does not.

    No channel count falls when the width grows, so this is the largest width that fits, unless more channels
    make a family's block smaller. Raises UsageError if even width 1 does not.
    """
    budget = int(max_params * fraction)

    def at(width: int) -> StudentConfig:
        return config.model_copy(update={"width": width})

    smallest = parameters_of(at(1))
    if smallest > budget:
        raise UsageError(
            f"family {config.family!r} of depths {config.depths}: at least {smallest:,} parameters, "
            f"more than {budget:,}; raise budget.max_params, or allow fewer blocks or less growth"
        )

    def count(width: int) -> int:
        return parameters_of(at(width))

    # Parameters grow about as the square of the width: that guess saves most of the counting.
    low = high = max(1, int(PROBE * (budget / count(PROBE)) ** 0.5))
    step = 1
    while count(low) > budget:
        low, step = max(1, low - step), 2 * step
    step = 1
    while count(high) <= budget:
        high, step = high + step, 2 * step
    return at(low + bisect_right(range(low + 1, high), budget, key=count))
