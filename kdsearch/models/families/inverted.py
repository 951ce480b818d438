"""The inverted residual."""

from typing import Annotated, Literal

from torch import Tensor, nn

from kdsearch.config import Choices, Record
from kdsearch.models.families.kernel import Kernel


class InvertedResidual(nn.Module):
    """Expansion 1 x 1, depthwise k x k, projection 1 x 1 without activation, plus the input if shapes allow.

    The block of MobileNetV2 (arXiv 1801.04381, table 1): B x C_in x H x W to B x C_out x H/s x W/s, a
    BatchNorm after each convolution, no expansion at factor 1. `squeeze` adds the squeeze-and-excitation of
    MobileNetV3 (arXiv 1905.02244, section 5.3) after the depthwise convolution: a quarter of its channels,
    hard sigmoid.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        activation: type[nn.Module],
        *,
        kernel: int,
        expansion: int,
        residual: bool,
        squeeze: bool,
    ) -> None:
        super().__init__()
        wide = c_in * expansion
        self.adds = residual and stride == 1 and c_in == c_out
        self.expand = nn.Sequential()
        if expansion > 1:
            self.expand.extend([nn.Conv2d(c_in, wide, 1, bias=False), nn.BatchNorm2d(wide), activation()])
        self.depthwise = nn.Sequential(
            nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            activation(),
        )
        self.gate = None
        if squeeze:
            few = max(1, wide // 4)
            self.gate = nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(wide, few, 1),
                nn.ReLU(),
                nn.Conv2d(few, wide, 1),
                nn.Hardsigmoid(),
            )
        self.project = nn.Sequential(nn.Conv2d(wide, c_out, 1, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, images: Tensor) -> Tensor:
        """B x C_out x ceil(H/s) x ceil(W/s)."""
        maps = self.depthwise(self.expand(images))
        if self.gate is not None:
            maps = maps * self.gate(maps)
        projected: Tensor = self.project(maps)
        return images + projected if self.adds else projected


class InvertedResidualConfig(Record):
    kernel: Kernel = 3
    expansion: Annotated[Literal[1, 2, 3, 4, 6], Choices.of(2, 4, 6)] = 4
    residual: bool = True
    squeeze: Annotated[bool, Choices.of(False, True)] = False
