"""Checks before any training that the students of a study can fit its budget and its images."""

from collections.abc import Callable, Iterator
from typing import Any, get_args

from kdsearch.errors import UsageError
from kdsearch.models.measure import macs_of, parameters_of
from kdsearch.models.published import PUBLISHED
from kdsearch.models.student import Shortcut, StudentConfig
from kdsearch.models.width import solve_width
from kdsearch.study.architecture import SEARCHED, Architecture
from kdsearch.study.file import Study
from kdsearch.study.space import Space
from kdsearch.tables import BudgetConfig

Choose = Callable[..., Any]  # max or min


def check_budget(study: Study, classes: int, image_size: int) -> list[str]:
    """Returns a line for each published network that is left out.

    Raises UsageError if some searched student, or all of them, do not fit even with a width of one channel.
    The student with the most blocks, the fastest growth, the latest halving and the smallest share of the
    budget represents its family.
    """
    study, left_out = fitting(study, classes, image_size)
    if study.families:
        _check_smallest(study, classes, image_size)
    for student, fraction in _corners(study, classes, image_size, max, min):
        solve_width(
            student, study.max_params, fraction, max_macs=study.budget.max_macs, image_size=image_size
        )
    return left_out


def fitting(study: Study, classes: int, image_size: int) -> tuple[Study, list[str]]:
    """`study` without the published networks that are too large for it, and a line for each of these.

    Raises UsageError if none is left.
    """
    networks = study.student.possible("network")
    unfit = {name: why for name in networks if (why := _unfit(name, study.budget, classes, image_size))}
    if not unfit:
        return study, []
    left = [name for name in networks if name not in unfit]
    if not left:
        raise UsageError(f"[student] network: none fits: {'; '.join(unfit.values())}")
    return study.replace("student.network", left), [f"{why}: left out" for why in unfit.values()]


def _unfit(name: str, budget: BudgetConfig, classes: int, image_size: int) -> str | None:
    """The reason why a published network does not fit; None if it does."""
    if name == SEARCHED:
        return None
    network = Architecture(network=name).published(classes)
    if (params := parameters_of(network)) > budget.max_params:
        return f"network {name} has {params:,} parameters, more than {budget.max_params:,}"
    smallest = PUBLISHED[name].smallest
    if image_size < smallest:
        return f"network {name} needs at least {smallest} x {smallest} px, not {image_size} x {image_size}"
    if budget.max_macs is not None and (macs := macs_of(network, image_size)) > budget.max_macs:
        return f"network {name} has {macs:,} multiply-adds, more than {budget.max_macs:,}"
    return None


def _check_smallest(study: Study, classes: int, image_size: int) -> None:
    """Raises UsageError, naming the family that comes closest, if no student fits."""
    students = [student for student, _ in _corners(study, classes, image_size, min, max)]
    caps: list[tuple[str, int | None, Callable[[StudentConfig], int], str, str]] = [
        ("max_params", study.max_params, parameters_of, "parameters", "fewer blocks or less growth"),
        (
            "max_macs",
            study.budget.max_macs,
            lambda student: macs_of(student, image_size),
            "multiply-adds",
            "fewer blocks or an earlier halving",
        ),
    ]
    for key, most, count, what, cure in caps:
        closest = min(students, key=count)
        if most is not None and count(closest) > most:
            raise UsageError(
                f"no student of this study fits budget.{key} = {most:,}: family {closest.family!r} "
                f"comes closest, at {count(closest):,} {what}; raise it, or allow {cure}"
            )


def _corners(
    study: Study, classes: int, image_size: int, extreme: Choose, other: Choose
) -> Iterator[tuple[StudentConfig, float]]:
    """For each family the student of width 1 at one end of every field, and `fraction` at the `other`."""
    drawn = {
        field: _end(study.student, field, other if field == "stem_stride" else extreme)
        for field in study.student.record.model_fields
    }
    fraction = other(study.student.possible("fraction"))
    for family, space in study.families.items():
        options = {field: _end(space, field, extreme) for field in space.record.model_fields}
        architecture = study.student.make({**drawn, "family": family, "network": SEARCHED})
        yield architecture.student(options, classes, image_size), fraction


def _end(space: Space, field: str, extreme: Choose) -> object:
    """The largest or smallest value of a number or a shortcut; of any other field the first."""
    values = space.possible(field)
    if field == "shortcut":
        return extreme(values, key=get_args(Shortcut).index)
    return extreme(values) if all(isinstance(value, int | float) for value in values) else values[0]
