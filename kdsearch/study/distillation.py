"""The table [distillation] of a study file: what the student learns from the teacher."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from kdsearch.config import Choices, Range, Record
from kdsearch.distill import LOSSES
from kdsearch.distill.loss import ANY, LayerOf
from kdsearch.errors import TeacherError
from kdsearch.names import nearest_first
from kdsearch.study.space import Place, Space
from kdsearch.study.teachers import ONLY, in_order

NONE = "ce"  # the student without a teacher


def loss_names(loss: str) -> tuple[str, ...]:
    """The names in LOSSES that a sum such as `kl+rkd` holds; none for `ce`."""
    return () if loss == NONE else tuple(loss.split("+"))


def known_loss(loss: str) -> str:
    """Returns `loss`, `ce` or a sum of different losses in the order of LOSSES. Raises ValueError."""
    names = loss_names(loss)
    if unknown := [name for name in names if name not in LOSSES]:
        known = nearest_first(unknown[0], [NONE, *LOSSES])
        raise ValueError(f"{unknown[0]!r} is not a loss; known, nearest first: {known}, and sums with +")
    if len(set(names)) < len(names):
        raise ValueError("a loss occurs twice in the sum")
    return "+".join(sorted(names, key=list(LOSSES).index)) or NONE


def check_layers(loss: str, space: Space, hints: Mapping[str, object], teacher: str) -> None:
    """Raises TeacherError if a loss that reads feature maps asks for one that the teacher lacks."""
    if not hints:
        raise TeacherError(f"[losses.{loss}]: {teacher} has no feature maps; choose another teacher")
    for field, layer in _layers(space, LayerOf("teacher")):
        if layer not in {*ANY, *hints}:
            known = f"{', '.join(ANY)}, {nearest_first(layer, hints)}"
            raise TeacherError(f"[losses.{loss}] {field}: {teacher} has no {layer!r}; known: {known}")


def check_student_layers(place: Place, space: Space, layers: list[str]) -> None:
    """Raises StudyFileError if a loss reads a map that some student does not have."""
    known = [*ANY, *layers]
    for field, layer in _layers(space, LayerOf("student")):
        if layer not in known:
            raise place.error(f"{field} = {layer!r}: not every student has it; all have: {', '.join(known)}")


def _layers(space: Space, mark: LayerOf) -> Iterator[tuple[str, str]]:
    """Each setting that names a layer of that network, with each of its possible values."""
    for name, field in space.record.model_fields.items():
        if mark in field.metadata:
            yield from ((name, layer) for layer in space.possible(name))


class Distillation(Record):
    """The losses beside cross-entropy, and their common weight alpha."""

    loss: Annotated[str, AfterValidator(known_loss), Choices.of(NONE, "kl")] = "kl"
    alpha: Annotated[float, Field(ge=0, le=1), Range(0.1, 0.9)] = 0.5
    alpha_schedule: Literal["constant", "falling"] = "constant"  # falling: to 0, as 1 - (epoch / epochs)^2
    teacher: Annotated[str, AfterValidator(in_order)] = ONLY  # a name, or a sum of names: their average

    @staticmethod
    def is_active(field: str, drawn: Mapping[str, Any]) -> bool:
        """Whether a field has an effect beside the values drawn before it: without a loss alpha has none."""
        return field == "loss" or bool(loss_names(drawn["loss"]))
