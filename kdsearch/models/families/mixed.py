"""The mixed depthwise block with a gated pair of pointwise layers."""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from kdsearch.config import Choices, Record


class Mixed(nn.Module):
    """Depthwise convolutions of several sizes, LayerNorm over channels, a gated pair, 1 x 1, a shortcut.

    A quarter of the channels stays as it is, the others pass a depthwise 3 x 3, a 7 x 7, and a 3 x 3 average
    before a 7 x 7 dilated by 3 (as MixConv, arXiv 1907.09595, and InceptionNeXt, arXiv 2303.16900). Of the
    pair one half, activated, gates the other (arXiv 2002.05202). The shortcut has a learned scale per
    channel. B x C_in x H x W to B x C_out x ceil(H/s) x ceil(W/s); if the shape changes, the shortcut is an
    average of s x s and a convolution 1 x 1.
    """

    def __init__(
        self, c_in: int, c_out: int, stride: int, activation: type[nn.Module], *, expansion: int
    ) -> None:
        super().__init__()
        part = c_in // 4

        def depthwise(kernel: int, dilation: int) -> nn.Conv2d:
            padding = kernel // 2 * dilation
            return nn.Conv2d(part, part, kernel, stride, padding, dilation, groups=part, bias=False)

        self.parts = nn.ModuleList(
            [
                nn.AvgPool2d(stride, ceil_mode=True),
                depthwise(3, 1),
                depthwise(7, 1),
                nn.Sequential(nn.AvgPool2d(3, 1, 1), depthwise(7, 3)),
            ]
        )
        self.norm = nn.LayerNorm(c_in)
        self.pair = nn.Linear(c_in, 2 * expansion * c_in)
        self.activation = activation()
        self.project = nn.Linear(expansion * c_in, c_out)
        self.shortcut = nn.Sequential()
        if stride == 2 or c_in != c_out:
            self.shortcut.extend(
                [nn.AvgPool2d(stride, ceil_mode=True), nn.Conv2d(c_in, c_out, 1, bias=False)]
            )
        self.scale = nn.Parameter(torch.ones(c_out, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """B x C_out x ceil(H/s) x ceil(W/s)."""
        quarters = images.chunk(4, 1)
        maps = torch.cat([part(quarter) for part, quarter in zip(self.parts, quarters, strict=True)], 1)
        gate, value = self.pair(self.norm(maps.movedim(1, 3))).chunk(2, 3)
        maps = self.project(self.activation(gate) * value).movedim(3, 1)
        added: Tensor = self.shortcut(images) * self.scale + maps
        return added


class MixedConfig(Record):
    expansion: Annotated[Literal[1, 2, 3], Choices.of(1, 2, 3)] = 2
