"""The fire module."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from kdsearch.config import Choices, Record


class Fire(nn.Module):
    """A squeeze 1 x 1, then expansions 1 x 1 and 3 x 3 side by side, half of the output each.

    The module of SqueezeNet (arXiv 1602.07360, section 3.2): B x C_in x H x W to B x C_out x H/s x W/s, where
    the squeeze has `ratio * C_out` channels, at least one. Stride 2 is a 3 x 3 maximum in front, as there.
    `norm` puts a BatchNorm after each convolution, in place of its bias; the paper's module has none.
    """

    def __init__(
        self, c_in: int, c_out: int, stride: int, activation: type[nn.Module], *, ratio: float, norm: bool
    ) -> None:
        super().__init__()

        def layers(inside: int, outside: int, kernel: int) -> nn.Sequential:
            block = nn.Sequential(nn.Conv2d(inside, outside, kernel, 1, kernel // 2, bias=not norm))
            if norm:
                block.append(nn.BatchNorm2d(outside))
            return block.append(activation())

        few = max(1, int(ratio * c_out))
        self.pool = nn.MaxPool2d(3, 2, 1) if stride == 2 else nn.Identity()
        self.squeeze = layers(c_in, few, 1)
        self.expand1 = layers(few, c_out // 2, 1)
        self.expand3 = layers(few, c_out - c_out // 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        """B x C_out x ceil(H/s) x ceil(W/s)."""
        squeezed = self.squeeze(self.pool(images))
        return torch.cat([self.expand1(squeezed), self.expand3(squeezed)], 1)


class FireConfig(Record):
    ratio: Annotated[float, Field(gt=0, le=1), Choices.of(0.125, 0.25, 0.5)] = 0.25
    norm: bool = True
