"""The block whose weights are used several times."""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from kdsearch.config import Choices, Record


class Recurrent(nn.Module):
    """The same depthwise k x k and pointwise 1 x 1 several times, with shortcuts: depth without parameters.

    A residual network with shared weights, unrolled, whose BatchNorms are each time's own (arXiv 1604.03640,
    section 3): B x C_in x H x W to B x C_out x ceil(H/s) x ceil(W/s). With stride 2, or if the number of
    channels changes, a depthwise-separable convolution comes first.
    """

    def __init__(
        self, c_in: int, c_out: int, stride: int, activation: type[nn.Module], *, kernel: int, times: int
    ) -> None:
        super().__init__()
        self.first = nn.Sequential()
        if stride == 2 or c_in != c_out:
            self.first.extend(
                [
                    nn.Conv2d(c_in, c_in, kernel, stride, kernel // 2, groups=c_in, bias=False),
                    nn.BatchNorm2d(c_in),
                    activation(),
                    nn.Conv2d(c_in, c_out, 1, bias=False),
                    nn.BatchNorm2d(c_out),
                    activation(),
                ]
            )
        self.depthwise = nn.Conv2d(c_out, c_out, kernel, 1, kernel // 2, groups=c_out, bias=False)
        self.pointwise = nn.Conv2d(c_out, c_out, 1, bias=False)
        self.inside = nn.ModuleList(nn.Sequential(nn.BatchNorm2d(c_out), activation()) for _ in range(times))
        self.after = nn.ModuleList(nn.Sequential(nn.BatchNorm2d(c_out), activation()) for _ in range(times))

    def forward(self, images: Tensor) -> Tensor:
        """B x C_out x ceil(H/s) x ceil(W/s)."""
        maps: Tensor = self.first(images)
        for inside, after in zip(self.inside, self.after, strict=True):
            maps = maps + after(self.pointwise(inside(self.depthwise(maps))))
        return maps


class RecurrentConfig(Record):
    kernel: Annotated[Literal[3, 5, 7], Choices.of(3, 5)] = 3
    times: Annotated[int, Field(ge=1, le=8), Choices.of(2, 3, 4)] = 2
