"""The width of a student, solved for a budget: so that every sampled student fits."""

from kdsearch.errors import UsageError
from kdsearch.models.count import parameters_of
from kdsearch.models.student import StudentConfig


def solve_width(config: StudentConfig, max_params: int, fraction: float = 1.0) -> StudentConfig:
    """`config` with the width that fits into `fraction * max_params` while the next one does not.

    No channel count falls when the width grows, so where a family's block does not shrink with more channels
    either, this is the largest width that fits. Raises UsageError where even width 1 does not.
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
    fits, exceeds = 1, 2
    while parameters_of(at(exceeds)) <= budget:
        fits, exceeds = exceeds, 2 * exceeds
    while exceeds - fits > 1:
        middle = (fits + exceeds) // 2
        if parameters_of(at(middle)) <= budget:
            fits = middle
        else:
            exceeds = middle
    return at(fits)
