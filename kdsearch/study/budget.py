"""Whether every student that a study may draw fits its budget, asked before anything is trained."""

from kdsearch.models.width import solve_width
from kdsearch.study.file import Study
from kdsearch.study.space import Space


def check_budget(study: Study, classes: int, image_size: int) -> None:
    """Raises UsageError where some student does not fit even with a width of one channel.

    The one with the most blocks, the fastest growth and the least of the budget stands for all of a family.
    """
    largest = {field: _most(study.student, field) for field in study.student.record.model_fields}
    fraction = min(study.student.possible("fraction"))
    for family, options in study.families.items():
        drawn = {field: _most(options, field) for field in options.record.model_fields}
        architecture = study.student.make({**largest, "family": family})
        solve_width(architecture.student(drawn, classes, image_size), study.max_params, fraction)


def _most(space: Space, field: str) -> object:
    """The greatest value of a number's field; of any other the first, since it changes no size."""
    values = space.possible(field)
    return max(values) if all(isinstance(value, int | float) for value in values) else values[0]
