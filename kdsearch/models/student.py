"""Students: one skeleton for all families, the record that fully determines a student, and its outputs."""

from typing import Any, Literal, Self

import torch
from pydantic import Field, TypeAdapter, model_validator
from torch import Tensor, nn

from kdsearch.config import Record
from kdsearch.models.around import Residual, SqueezeExcitation
from kdsearch.models.families import FAMILIES
from kdsearch.models.published import PUBLISHED, PublishedConfig, PublishedNet
from kdsearch.outputs import Outputs, Shapes

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "silu": nn.SiLU,
}


Shortcut = Literal["none", "identity", "pool", "conv"]  # by their cost
LARGEST_MAP = 8  # pixels to a side of the last map: beyond, a student costs time and gains nothing


class StudentNet(nn.Module):
    """Stem, stages of blocks, global average pooling, linear head: B x 3 x H x W in 0..1 to B x classes.

    `stem` is (width, stride, patches), each stage (width, depth, stride). With downsampling by "stride" the
    first convolution or block of a stage has that stride; by "pool" all have stride 1 and, if the stride is
    2, a 2 x 2 maximum follows the stage, as in the published students. With `patches` a stem of stride 2 is
    6 x 6: a 3 x 3 over patches of 2 x 2 pixels. `around` each block stand (excitation, shortcut, scale): a
    squeeze-and-excitation or not, a shortcut of that kind, and whether it has a scale. `head` is (width,
    dropout, classes): of a last convolution 1 x 1 before the pooling, or 0 without one; of the linear layer.
    `normalisation` is the data's (mean, std). `options` go to every block.

    Its source is exported, so it uses nothing but `torch`, `Tensor` and `nn`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        block: type[nn.Module],
        activation: type[nn.Module],
        *,
        stem: tuple[int, int, bool],
        stages: tuple[tuple[int, int, int], ...],
        downsampling: str,
        around: tuple[bool, str, bool],
        head: tuple[int, float, int],
        normalisation: tuple[tuple[float, float, float], tuple[float, float, float]],
        **options: object,
    ) -> None:
        super().__init__()
        pools = downsampling == "pool"
        excitation, shortcut, scale = around

        def surrounded(c_in: int, c_out: int, stride: int) -> nn.Module:
            made = block(c_in, c_out, stride, activation, **options)
            if excitation:
                made = nn.Sequential(made, SqueezeExcitation(c_out))
            if shortcut == "none":
                return made
            return Residual(made, c_in, c_out, stride, kind=shortcut, scale=scale)

        def convolution(c_in: int, c_out: int, kernel: int, stride: int) -> list[nn.Module]:
            layer = nn.Conv2d(c_in, c_out, kernel, stride, (kernel - 1) // 2, bias=False)
            return [layer, nn.BatchNorm2d(c_out), activation()]

        for name, numbers in zip(("mean", "std"), normalisation, strict=True):
            self.register_buffer(name, torch.tensor(numbers).view(1, 3, 1, 1))
        width, stride, patches = stem
        if patches and stride == 2:
            self.stem = nn.Sequential(*convolution(3, width, 6, 2))
        else:
            self.stem = nn.Sequential(*convolution(3, width, 3, 1 if pools else stride))
            if pools and stride == 2:
                self.stem.append(nn.MaxPool2d(2))
        self.stages = nn.ModuleList()
        c_in = width
        for width, depth, stride in stages:
            stage = nn.Sequential(surrounded(c_in, width, 1 if pools else stride))
            stage.extend(surrounded(width, width, 1) for _ in range(1, depth))
            if pools and stride == 2:
                stage.append(nn.MaxPool2d(2))
            self.stages.append(stage)
            c_in = width
        head_width, dropout, classes = head
        self.last = nn.Sequential(*convolution(c_in, head_width, 1, 1)) if head_width else nn.Identity()
        linear = nn.Linear(head_width or c_in, classes)
        self.head = nn.Sequential(nn.Dropout(dropout), linear) if dropout else linear

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
        last: Tensor = self.last(maps[f"stage{len(self.stages)}"])
        return last.mean((2, 3))

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
    width: int | float = Field(ge=1)
    growth: float = Field(gt=0)
    depths: tuple[int, ...] = Field(min_length=1)
    strides: tuple[Literal[1, 2], ...]
    downsampling: Literal["stride", "pool"]
    activation: Literal["relu", "relu6", "hardswish", "silu"]
    stem: Literal["conv", "patches"] = "conv"
    excitation: bool = False
    shortcut: Shortcut = "none"
    scale: bool = False
    head_expansion: int = Field(ge=0, default=0)  # of the last stage's width; 0: no convolution
    dropout: float = Field(ge=0, lt=1, default=0.0)
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
            "stem": (self.widths[0], self.strides[0], self.stem == "patches"),
            "stages": tuple(zip(self.widths[1:], self.depths, self.strides[1:], strict=True)),
            "downsampling": self.downsampling,
            "around": (self.excitation, self.shortcut, self.scale),
            "head": (self.head_expansion * self.widths[-1], self.dropout, self.classes),
            "normalisation": (self.mean, self.std),
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
        embedding, widths = max(1, config.head_expansion) * config.widths[-1], config.widths
    hints: dict[str, tuple[int, ...]] = {name: (width,) for name, width in zip(names, widths, strict=True)}
    return Shapes(config.classes, embedding, hints)


def as_input(images: Tensor) -> Tensor:
    """Converts stored pixels, uint8 N x C x H x W, to a network's input: float32 N x 3 x H x W in 0..1.

    Gray is repeated without a copy, so the caller must not write to the result.
    """
    return (images.float() / 255).expand(-1, 3, -1, -1)


def strides_for(
    image_size: int, stages: int, *, stem_stride: int, full_stages: int, smallest_map: int
) -> tuple[Literal[1, 2], ...]:
    """Strides of the stem and each stage, as late as the last map of at most 8 x 8 pixels allows.

    The first `full_stages` keep the stem's resolution; each later stage halves it while a map of
    `smallest_map` x `smallest_map` pixels remains. Fewer stages stay full if the last map were larger than 8
    pixels otherwise. A stem of stride 2 does not halve an image below that either.
    """
    stem: Literal[1, 2] = 2 if stem_stride == 2 and image_size // 2 >= max(2, smallest_map) else 1
    strides: tuple[Literal[1, 2], ...] = ()
    for full in range(min(full_stages, stages), -1, -1):
        size = image_size // stem
        strides = (stem,)
        for stage in range(stages):
            halves = stage >= full and size // 2 >= max(2, smallest_map)
            strides += (2 if halves else 1,)
            size //= strides[-1]
        if size <= LARGEST_MAP:
            break
    return strides
