"""Students: one skeleton for all families, the record that fully determines a student, and its outputs."""

from math import prod
from typing import Any, Literal, Self

import torch
from pydantic import Field, TypeAdapter, model_validator
from torch import Tensor, nn

from kdsearch.config import Record
from kdsearch.models.families import FAMILIES
from kdsearch.models.published import PUBLISHED, PublishedConfig, PublishedNet
from kdsearch.outputs import Outputs, Shapes

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "silu": nn.SiLU,
}


class StudentNet(nn.Module):
    """Stem, stages of blocks, global average pooling, linear head: B x 3 x H x W in 0..1 to B x classes.

    `stem` is (width, stride), each stage (width, depth, stride). With downsampling by "stride" the first
    convolution or block of a stage has that stride; by "pool" all have stride 1 and, where the stride is 2, a
    2 x 2 maximum follows the stage, as in the published students. `options` go to every block.

    Its source is exported, so it uses nothing but `torch`, `Tensor` and `nn`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        block: type[nn.Module],
        activation: type[nn.Module],
        *,
        stem: tuple[int, int],
        stages: tuple[tuple[int, int, int], ...],
        downsampling: str,
        classes: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        **options: object,
    ) -> None:
        super().__init__()
        pools = downsampling == "pool"
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        c_in, stride = stem
        self.stem = nn.Sequential(
            nn.Conv2d(3, c_in, 3, 1 if pools else stride, 1, bias=False), nn.BatchNorm2d(c_in), activation()
        )
        if pools and stride == 2:
            self.stem.append(nn.MaxPool2d(2))
        self.stages = nn.ModuleList()
        for width, depth, stride in stages:
            stage = nn.Sequential(block(c_in, width, 1 if pools else stride, activation, **options))
            stage.extend(block(width, width, 1, activation, **options) for _ in range(1, depth))
            if pools and stride == 2:
                stage.append(nn.MaxPool2d(2))
            self.stages.append(stage)
            c_in = width
        self.head = nn.Linear(c_in, classes)

    def forward_features(self, images: Tensor) -> dict[str, Tensor]:
        """The maps after the stem and each stage, by the names stem, stage1, stage2, ..., in that order."""
        last = self.stem((images - self.mean) / self.std)
        maps = {"stem": last}
        for number, stage in enumerate(self.stages, start=1):
            last = stage(last)
            maps[f"stage{number}"] = last
        return maps

    def embed(self, maps: dict[str, Tensor]) -> Tensor:
        """The input of the head: the mean of the last map over its pixels, B x D."""
        return maps[f"stage{len(self.stages)}"].mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """The logits, B x classes."""
        logits: Tensor = self.head(self.embed(self.forward_features(images)))
        return logits


class StudentConfig(Record):
    """All that determines a student network except its weights.

    The stem has `width` channels, stage i (from 1) `width * growth**i`, rounded to the family's multiple.
    `depths` are blocks a stage; `strides` are the stem's, then each stage's. `mean` and `std` are the
    data's, per channel, in 0..1. Raises pydantic's ValidationError if the family is unknown, an option
    is not the family's, or lengths differ.
    """

    family: str
    options: dict[str, int | float | str | bool]
    width: int = Field(ge=1)
    growth: float = Field(gt=0)
    depths: tuple[int, ...] = Field(min_length=1)
    strides: tuple[Literal[1, 2], ...]
    downsampling: Literal["stride", "pool"]
    activation: Literal["relu", "relu6", "hardswish", "silu"]
    classes: int = Field(ge=2)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @model_validator(mode="after")
    def fits_together(self) -> Self:
        """The family exists, it knows the options, each stage has a stride and a block."""
        if self.family not in FAMILIES:
            raise ValueError(f"unknown family {self.family!r}; known: {', '.join(FAMILIES)}")
        if len(self.strides) != len(self.depths) + 1:
            raise ValueError(
                f"{len(self.depths)} depths need {len(self.depths) + 1} strides, not {self.strides}"
            )
        if min(self.depths) < 1:
            raise ValueError(f"a stage needs a block, not depths {self.depths}")
        FAMILIES[self.family].config(**self.options)
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the stem and each stage, in the family's multiples; none falls if `width` grows."""
        family = FAMILIES[self.family]
        multiple = family.multiple(family.config(**self.options))
        wanted = (self.width * self.growth**i / multiple for i in range(len(self.strides)))
        return tuple(multiple * max(1, round(channels)) for channels in wanted)

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of StudentNet: plain literals, the family's defaults filled in."""
        options = FAMILIES[self.family].config(**self.options).model_dump()
        return {
            "stem": (self.widths[0], self.strides[0]),
            "stages": tuple(zip(self.widths[1:], self.depths, self.strides[1:], strict=True)),
            "downsampling": self.downsampling,
            "classes": self.classes,
            "mean": self.mean,
            "std": self.std,
            **options,
        }


Network = StudentNet | PublishedNet
NetworkConfig = StudentConfig | PublishedConfig


def read_config(stored: object) -> NetworkConfig:
    """The config that was dumped to `stored`."""
    config: NetworkConfig = TypeAdapter(NetworkConfig).validate_python(stored)
    return config


def build_student(config: NetworkConfig) -> Network:
    """The network of `config`, its weights drawn from torch's global generator."""
    if isinstance(config, PublishedConfig):
        return PublishedNet(PUBLISHED[config.network].activation, **config.arguments)
    return StudentNet(FAMILIES[config.family].block, ACTIVATIONS[config.activation], **config.arguments)


def student_outputs(student: Network, images: Tensor) -> Outputs:
    """Logits, embedding and the maps of all stages (and of a stem), for B x 3 x H x W in 0..1."""
    maps = student.forward_features(images)
    embedding = student.embed(maps)
    return Outputs(student.head(embedding), embedding, maps)


def student_shapes(config: NetworkConfig) -> Shapes:
    """The sizes of the student's outputs; of a hint its channels only, since its pixels follow the image."""
    if isinstance(config, PublishedConfig):
        published = PUBLISHED[config.network]
        names = [f"stage{number}" for number in range(1, len(published.stages) + 1)]
        embedding, widths = published.embedding, published.channels
    else:
        names = ["stem", *(f"stage{number}" for number in range(1, len(config.depths) + 1))]
        embedding, widths = config.widths[-1], config.widths
    hints: dict[str, tuple[int, ...]] = {name: (width,) for name, width in zip(names, widths, strict=True)}
    return Shapes(config.classes, embedding, hints)


def as_input(images: Tensor) -> Tensor:
    """Converts stored pixels, uint8 N x C x H x W, to a network's input: float32 N x 3 x H x W in 0..1.

    Gray is repeated without a copy, so the caller must not write to the result.
    """
    return (images.float() / 255).expand(-1, 3, -1, -1)


def strides_for(image_size: int, stages: int) -> tuple[Literal[1, 2], ...]:
    """Strides of the stem and each stage: the stem's 2 above 32 px, a stage's 2 while 2 x 2 pixels remain."""
    strides: list[Literal[1, 2]] = [1 if image_size <= 32 else 2]
    for _ in range(stages):
        strides.append(2 if image_size // (2 * prod(strides)) >= 2 else 1)
    return tuple(strides)
