"""Modules around the blocks of any family; their source is exported: only `torch`, `Tensor` and `nn`."""

import torch
from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate in 0..1, computed from the means of all: B x C x H x W to the same.

    The block of arXiv 1709.01507, section 3, with a quarter of the channels inside and the hard sigmoid of
    MobileNetV3 (arXiv 1905.02244).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        few = max(1, channels // 4)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, few, 1),
            nn.ReLU(),
            nn.Conv2d(few, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """B x C x H x W."""
        gated: Tensor = maps * self.gate(maps)
        return gated


class Residual(nn.Module):
    """Adds a shortcut to a block: B x C_in x H x W to B x C_out x ceil(H/s) x ceil(W/s).

    If the block keeps the shape, the shortcut is its input. If not, there is none with the kind `identity`;
    with `conv` it is a convolution 1 x 1 of the block's stride and a BatchNorm (arXiv 1512.03385, option B);
    with `pool` an average of s x s, filled up with zero channels (there option A). `scale` learns a factor
    per channel of the shortcut, which begins at 1.
    """

    def __init__(
        self, block: nn.Module, c_in: int, c_out: int, stride: int, *, kind: str, scale: bool
    ) -> None:
        super().__init__()
        self.block = block
        keeps = stride == 1 and c_in == c_out
        self.adds = keeps or kind != "identity"
        self.missing = 0 if keeps or kind != "pool" else c_out - c_in
        self.shortcut = nn.Sequential()
        if not keeps and kind == "conv":
            self.shortcut.extend([nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)])
        if kind == "pool" and stride == 2:
            self.shortcut.append(nn.AvgPool2d(2, ceil_mode=True))
        self.scale = nn.Parameter(torch.ones(c_out, 1, 1)) if scale and self.adds else None

    def forward(self, images: Tensor) -> Tensor:
        """B x C_out x ceil(H/s) x ceil(W/s)."""
        maps: Tensor = self.block(images)
        if not self.adds:
            return maps
        side = nn.functional.pad(self.shortcut(images), (0, 0, 0, 0, 0, self.missing))
        return maps + (side if self.scale is None else side * self.scale)
