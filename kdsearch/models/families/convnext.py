"""The ConvNeXt block."""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from kdsearch.config import Choices, Record


class ConvNeXt(nn.Module):
    """Depthwise k x k, LayerNorm over channels, expansion, activation, projection, scale, shortcut.

    The block of ConvNeXt (arXiv 2201.03545, figure 4): B x C_in x H x W to B x C_out x ceil(H/s) x ceil(W/s).
    With stride 2, or if the number of channels changes, a LayerNorm and a convolution s x s of stride s come
    first, as between its stages. The scale begins at 1: 1e-6, as there, is for networks of a hundred layers.
    """

    def __init__(
        self, c_in: int, c_out: int, stride: int, activation: type[nn.Module], *, kernel: int, expansion: int
    ) -> None:
        super().__init__()
        self.stride = stride
        self.first = nn.ModuleList()
        if stride == 2 or c_in != c_out:
            self.first.extend([nn.LayerNorm(c_in, 1e-6), nn.Conv2d(c_in, c_out, stride, stride)])
        self.depthwise = nn.Conv2d(c_out, c_out, kernel, 1, kernel // 2, groups=c_out)
        self.norm = nn.LayerNorm(c_out, 1e-6)
        self.expand = nn.Linear(c_out, expansion * c_out)
        self.activation = activation()
        self.project = nn.Linear(expansion * c_out, c_out)
        self.scale = nn.Parameter(torch.ones(c_out))

    def forward(self, images: Tensor) -> Tensor:
        """B x C_out x ceil(H/s) x ceil(W/s)."""
        if self.first:
            norm, shrink = self.first
            odd = (0, images.shape[3] % self.stride, 0, images.shape[2] % self.stride)
            images = shrink(nn.functional.pad(norm(images.movedim(1, 3)).movedim(3, 1), odd))
        maps = self.norm(self.depthwise(images).movedim(1, 3))
        maps = self.project(self.activation(self.expand(maps))) * self.scale
        added: Tensor = images + maps.movedim(3, 1)
        return added


class ConvNeXtConfig(Record):
    kernel: Annotated[Literal[3, 5, 7], Choices.of(5, 7)] = 7
    expansion: Annotated[Literal[2, 3, 4], Choices.of(2, 3, 4)] = 4
