"""The Ghost module."""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from kdsearch.config import Choices, Record


class Ghost(nn.Module):
    """A k x k convolution computes half of the maps, and a depthwise 3 x 3 of these the others, the ghosts.

    The module of GhostNet (arXiv 1911.11907, section 3.1, ratio 2): B x C_in x H x W to B x C_out x H/s x
    W/s, BatchNorm and activation after each convolution. If C_out is odd, the last ghost is left out.
    """

    def __init__(
        self, c_in: int, c_out: int, stride: int, activation: type[nn.Module], *, kernel: int
    ) -> None:
        super().__init__()
        self.c_out = c_out
        half = (c_out + 1) // 2
        self.primary = nn.Sequential(
            nn.Conv2d(c_in, half, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(half), activation()
        )
        self.cheap = nn.Sequential(
            nn.Conv2d(half, half, 3, 1, 1, groups=half, bias=False), nn.BatchNorm2d(half), activation()
        )

    def forward(self, images: Tensor) -> Tensor:
        """B x C_out x ceil(H/s) x ceil(W/s)."""
        primary = self.primary(images)
        return torch.cat([primary, self.cheap(primary)], 1)[:, : self.c_out]


class GhostConfig(Record):
    kernel: Annotated[Literal[1, 3, 5, 7], Choices.of(3, 5)] = 3
