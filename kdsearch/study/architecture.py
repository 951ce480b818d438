"""The table [student] of a study file: the space of networks."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from kdsearch.config import Choices, Range, Record
from kdsearch.models.families import FAMILIES
from kdsearch.models.published import PUBLISHED, PublishedConfig
from kdsearch.models.student import StudentConfig, strides_for, student_shapes
from kdsearch.names import nearest_first
from kdsearch.study.space import Space

SEARCHED = "searched"
MAX_STAGES = 4
Depth = Annotated[int, Field(ge=1), Range(1, 3)]


def one_of(known: Collection[str], kind: str) -> AfterValidator:
    """Accepts the `known` names of this kind; for any other it raises ValueError with the nearest ones."""

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"not a {kind}; known, nearest first: {nearest_first(name, known)}")
        return name

    return AfterValidator(check)


class Architecture(Record):
    """The shape of a student before its width is solved for the budget, or the name of a published one."""

    network: Annotated[str, one_of((SEARCHED, *PUBLISHED), "network")] = SEARCHED

    family: Annotated[str, one_of(FAMILIES, "family"), Choices.of("plain", "dwsep")] = "plain"
    stages: Annotated[int, Field(ge=1, le=MAX_STAGES), Range(2, 4)] = 3
    depth_1: Depth = 2  # blocks in the first stage
    depth_2: Depth = 2
    depth_3: Depth = 2
    depth_4: Depth = 2
    growth: Annotated[float, Field(ge=1, le=4), Range(1.2, 2.4)] = 1.6  # of width, from stage to stage
    activation: Literal["relu", "relu6", "hardswish", "silu"] = "relu"
    downsampling: Literal["stride", "pool"] = "stride"
    fraction: Annotated[float, Field(gt=0, le=1), Range(0.5, 1.0)] = 1.0  # share of the budget to use

    @property
    def depths(self) -> tuple[int, ...]:
        """The number of blocks in each stage that the student has."""
        return (self.depth_1, self.depth_2, self.depth_3, self.depth_4)[: self.stages]

    @staticmethod
    def is_active(field: str, drawn: Mapping[str, Any]) -> bool:
        """Whether a field has an effect beside the values drawn before it.

        With a published network no field has one; a depth has one if the student has its stage.
        """
        if field != "network" and drawn.get("network", SEARCHED) != SEARCHED:
            return False
        return not field.startswith("depth_") or int(field.removeprefix("depth_")) <= drawn["stages"]

    def published(self, classes: int) -> PublishedConfig:
        """The published network that `network` names."""
        return PublishedConfig(network=self.network, classes=classes)

    def student(self, options: Mapping[str, Any], classes: int, image_size: int) -> StudentConfig:
        """The student of width 1, which `solve_width` widens; normalisation is still to be filled in."""
        return StudentConfig(
            family=self.family,
            options=dict(options),
            width=1,
            growth=self.growth,
            depths=self.depths,
            strides=strides_for(image_size, self.stages),
            downsampling=self.downsampling,
            activation=self.activation,
            classes=classes,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        )


def common_layers(space: Space) -> list[str]:
    """The names of the maps that every student of the space has, in the order of the forward pass."""
    few = Architecture(stages=int(min(space.possible("stages"))))
    students = [
        few.student({}, 2, 64) if network == SEARCHED else PublishedConfig(network=network, classes=2)
        for network in space.possible("network")
    ]
    names = [list(student_shapes(student).hints) for student in students]
    return [name for name in names[0] if all(name in others for others in names)]
