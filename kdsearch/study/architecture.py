"""The table [student] of a study file: the space of networks."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from kdsearch.config import Choices, Range, Record
from kdsearch.models.families import FAMILIES
from kdsearch.models.published import PUBLISHED, PublishedConfig
from kdsearch.models.student import Shortcut, StudentConfig, strides_for, student_shapes
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


def takes_excitation(family: str) -> bool:
    """Whether squeeze-and-excitation may follow a block: not if its own options have it."""
    return "squeeze" not in FAMILIES[family].config.model_fields


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
    stem: Literal["conv", "patches"] = "conv"  # 3 x 3, or 3 x 3 patches of 2 x 2 pixels if the stride is 2
    stem_stride: Annotated[int, Field(ge=1, le=2), Range(1, 2)] = 2
    full_stages: Annotated[int, Field(ge=0, le=MAX_STAGES - 1), Range(0, 2)] = 1  # at the stem's resolution
    smallest_map: Annotated[int, Field(ge=2, le=8), Range(2, 8, log=True)] = 4  # pixels that halving leaves
    activation: Literal["relu", "relu6", "hardswish", "silu"] = "relu"
    downsampling: Literal["stride", "pool"] = "stride"
    shortcut: Shortcut = "none"  # around each block of a family that has none of its own
    scale: bool = False  # learned, of the shortcut, per channel
    excitation: bool = False  # squeeze-and-excitation after each block of a family that has none of its own
    head_expansion: Annotated[int, Field(ge=0, le=8)] = 0  # of the last width, by a 1 x 1; 0: none
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # before the head
    fraction: Annotated[float, Field(gt=0, le=1), Range(0.5, 1.0)] = 1.0  # share of the budget to use

    @property
    def depths(self) -> tuple[int, ...]:
        """The number of blocks in each stage that the student has."""
        return (self.depth_1, self.depth_2, self.depth_3, self.depth_4)[: self.stages]

    @staticmethod
    def is_active(field: str, drawn: Mapping[str, Any]) -> bool:
        """Whether a field has an effect beside the values drawn before it.

        With a published network no field has one; a depth has one if the student has its stage; what stands
        around a block has one if the family lacks it.
        """
        if field == "network":
            return True
        if drawn.get("network", SEARCHED) != SEARCHED:
            return False
        if field.startswith("depth_"):
            return int(field.removeprefix("depth_")) <= int(drawn["stages"])
        if field == "scale":
            shortcut: str = drawn["shortcut"]
            return shortcut != "none" and not FAMILIES[drawn["family"]].residual
        if field == "shortcut":
            return not FAMILIES[drawn["family"]].residual
        return field != "excitation" or takes_excitation(drawn["family"])

    def published(self, classes: int) -> PublishedConfig:
        """The published network that `network` names."""
        return PublishedConfig(network=self.network, classes=classes)

    def student(self, options: Mapping[str, Any], classes: int, image_size: int) -> StudentConfig:
        """The student of width 1, which `solve_width` widens; normalisation is still to be filled in."""
        shortcut = "none" if FAMILIES[self.family].residual else self.shortcut
        return StudentConfig(
            family=self.family,
            options=dict(options),
            width=1,
            growth=self.growth,
            depths=self.depths,
            strides=strides_for(
                image_size,
                self.stages,
                stem_stride=self.stem_stride,
                full_stages=self.full_stages,
                smallest_map=self.smallest_map,
            ),
            downsampling=self.downsampling,
            activation=self.activation,
            stem=self.stem,
            excitation=self.excitation and takes_excitation(self.family),
            shortcut=shortcut,
            scale=self.scale and shortcut != "none",
            head_expansion=self.head_expansion,
            dropout=self.dropout,
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
