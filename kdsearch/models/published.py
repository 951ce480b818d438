"""Published students, layer by layer: data for one class."""

from typing import Any, NamedTuple

import torch
from pydantic import field_validator
from torch import Tensor, nn

from kdsearch.config import Record

Layers = tuple[tuple[str, int], ...]


class PublishedNet(nn.Module):
    """Stages of plain layers, a neck, a linear head, as published.

    Each stage is a row of (kind, channels): `conv` is a 3 x 3 convolution, BatchNorm, activation; `dwpw` a
    depthwise 3 x 3, pointwise 1 x 1, BatchNorm, activation; `dwbn` a depthwise 3 x 3, BatchNorm, activation,
    pointwise 1 x 1; all convolutions with bias. `max` and `avg` pool so many pixels. `neck` is the height and
    width in pixels that the last map is averaged to, then the widths of hidden layers, each followed by the
    activation and dropout. B x 3 x H x W in 0..1 to B x classes.

    Its source is exported, so it uses nothing but `torch`, `Tensor` and `nn`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        activation: type[nn.Module],
        *,
        stages: tuple[tuple[tuple[str, int], ...], ...],
        padding: int,
        neck: tuple[int, ...],
        dropout: float,
        classes: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        super().__init__()

        def layers(kind: str, c_in: int, c_out: int) -> list[nn.Module]:
            if kind in ("max", "avg"):
                return [nn.MaxPool2d(c_out) if kind == "max" else nn.AvgPool2d(c_out)]
            if kind == "conv":
                return [nn.Conv2d(c_in, c_out, 3, 1, padding), nn.BatchNorm2d(c_out), activation()]
            depthwise = nn.Conv2d(c_in, c_in, 3, 1, padding, groups=c_in)
            pointwise = nn.Conv2d(c_in, c_out, 1)
            if kind == "dwpw":
                return [depthwise, pointwise, nn.BatchNorm2d(c_out), activation()]
            return [depthwise, nn.BatchNorm2d(c_in), activation(), pointwise]

        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.stages = nn.ModuleList()
        c_in = 3
        for stage in stages:
            modules = nn.Sequential()
            for kind, channels in stage:
                modules.extend(layers(kind, c_in, channels))
                c_in = c_in if kind in ("max", "avg") else channels
            self.stages.append(modules)
        self.neck = nn.Sequential(nn.AdaptiveAvgPool2d(neck[0]), nn.Flatten())
        width = c_in * neck[0] ** 2
        for wide in neck[1:]:
            self.neck.extend([nn.Linear(width, wide), activation(), nn.Dropout(dropout)])
            width = wide
        self.head = nn.Linear(width, classes)

    def forward_features(self, images: Tensor) -> dict[str, Tensor]:
        """The maps after each stage, by the names stage1, stage2, ..., in that order."""
        last = (images - self.mean) / self.std
        maps = {}
        for number, stage in enumerate(self.stages, start=1):
            last = stage(last)
            maps[f"stage{number}"] = last
        return maps

    def embed(self, maps: dict[str, Tensor]) -> Tensor:
        """The input of the head, B x D."""
        embedding: Tensor = self.neck(maps[f"stage{len(self.stages)}"])
        return embedding

    def forward(self, images: Tensor) -> Tensor:
        """The logits, B x classes."""
        logits: Tensor = self.head(self.embed(self.forward_features(images)))
        return logits


class Published(NamedTuple):
    """The facts of a published student, without its weights."""

    stages: tuple[Layers, ...]
    activation: type[nn.Module] = nn.ReLU
    padding: int = 1
    neck: tuple[int, ...] = (1,)
    dropout: float = 0.5
    smallest: int = 32  # height and width in pixels that it can read

    @property
    def channels(self) -> tuple[int, ...]:
        """The channels of the map after each stage."""
        return tuple([c for kind, c in stage if kind not in ("max", "avg")][-1] for stage in self.stages)

    @property
    def embedding(self) -> int:
        """The width of the head's input."""
        return self.neck[-1] if len(self.neck) > 1 else self.channels[-1] * self.neck[0] ** 2


MAX, AVG = ("max", 2), ("avg", 2)

PUBLISHED: dict[str, Published] = {
    "s0-first": Published(
        stages=(
            (("conv", 4), ("conv", 16), MAX),
            (("dwpw", 64), MAX),
            (("dwpw", 64), ("conv", 64), MAX),
            (("dwpw", 64), ("dwpw", 84), MAX),
        ),
        padding=0,
        smallest=72,
    ),
    "s0-second": Published(
        stages=(
            (("conv", 4), ("conv", 16), MAX),
            (("dwpw", 64), ("dwpw", 32), MAX),
            (("conv", 32), MAX),
            (("dwpw", 128), ("dwpw", 128), MAX),
            (("dwpw", 84),),
        ),
        padding=0,
        smallest=100,
    ),
    "mobilenet": Published(
        stages=(
            (("conv", 16), MAX),
            (("dwbn", 32), MAX),
            (("dwbn", 64), MAX),
            (("dwbn", 128), MAX),
            (("dwbn", 256), ("dwbn", 256), ("dwbn", 256), ("dwbn", 256)),
        ),
        activation=nn.ReLU6,
        smallest=16,
    ),
    # Its report gives no rate for the dropout; a half is our reading. 28 px give the 3 x 3 that it names.
    "s4": Published(
        stages=((("conv", 16), AVG), (("conv", 32), AVG), (("conv", 64), AVG)),
        neck=(3, 128),
        smallest=8,
    ),
    "vgg16-depthwise": Published(
        stages=(
            (("conv", 64), ("dwbn", 64), MAX),
            (("dwbn", 128), ("dwbn", 128), MAX),
            (("dwbn", 256), ("dwbn", 256), ("dwbn", 256), MAX),
            (("dwbn", 512), ("dwbn", 512), ("dwbn", 512), MAX),
            (("dwbn", 512), ("dwbn", 512), ("dwbn", 512), MAX),
        ),
        neck=(7, 2400, 512),
    ),
    "vgg11-bn": Published(
        stages=(
            (("conv", 64), MAX),
            (("conv", 128), MAX),
            (("conv", 256), ("conv", 256), MAX),
            (("conv", 512), ("conv", 512), MAX),
            (("conv", 512), ("conv", 512), MAX),
        ),
        neck=(7, 2048, 512),
    ),
}


class PublishedConfig(Record):
    """All that determines a published student except its weights: its name, and the facts of the data."""

    network: str
    classes: int
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)  # of the data, per channel, in 0..1
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @field_validator("network")
    @classmethod
    def is_published(cls, network: str) -> str:
        """Raises ValueError for a name that is not in PUBLISHED."""
        if network not in PUBLISHED:
            raise ValueError(f"unknown network {network!r}; known: {', '.join(PUBLISHED)}")
        return network

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of PublishedNet without the activation, as plain literals."""
        facts = PUBLISHED[self.network]._asdict()
        fixed = {name: facts[name] for name in ("stages", "padding", "neck", "dropout")}
        return fixed | self.model_dump(exclude={"network"})
