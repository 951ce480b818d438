"""The grouped convolution."""

from typing import Annotated, Literal

from torch import Tensor, nn

from kdsearch.config import Choices, Record
from kdsearch.models.families.kernel import Kernel


class Grouped(nn.Module):
    """Convolution k x k in g groups, BatchNorm, activation, channel shuffle.

    B x C_in x H x W to B x C_out x H/s x W/s, with `k^2 C_in C_out / g + 2 C_out` parameters. The shuffle of
    ShuffleNet (arXiv 1707.01083, section 3.1) has none: it lets the next block's groups see all of these.
    """

    def __init__(
        self, c_in: int, c_out: int, stride: int, activation: type[nn.Module], *, kernel: int, groups: int
    ) -> None:
        super().__init__()
        self.groups = groups
        self.layers = nn.Sequential(
            nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(c_out),
            activation(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """B x C_out x ceil(H/s) x ceil(W/s)."""
        maps = self.layers(images).movedim(1, 3)  # channels last, in which the layers compute
        shuffled: Tensor = maps.reshape(*maps.shape[:3], self.groups, -1).transpose(3, 4).flatten(3)
        return shuffled.movedim(3, 1)


class GroupedConfig(Record):
    kernel: Kernel = 3
    groups: Annotated[Literal[2, 4, 8], Choices.of(2, 4, 8)] = 4
