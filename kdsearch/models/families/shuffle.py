"""The unit of ShuffleNet V2."""

import torch
from torch import Tensor, nn


class ShuffleUnit(nn.Module):
    """Half of the channels stay as they are, the others pass 1 x 1, depthwise k x k, 1 x 1; then a shuffle.

    The unit of ShuffleNet V2 (arXiv 1807.11164, figure 3c): B x C x H x W to the same. With stride 2, or
    if the number of channels changes, both halves are made from the whole input, as in figure 3d: to B x
    C_out x H/s x W/s. A BatchNorm after each convolution, no activation after the depthwise one.
    """

    def __init__(
        self, c_in: int, c_out: int, stride: int, activation: type[nn.Module], *, kernel: int
    ) -> None:
        super().__init__()
        half = c_out // 2
        self.splits = stride == 1 and c_in == c_out
        depthwise = kernel, stride, kernel // 2
        self.side = nn.Sequential()
        if not self.splits:
            self.side.extend(
                [
                    nn.Conv2d(c_in, c_in, *depthwise, groups=c_in, bias=False),
                    nn.BatchNorm2d(c_in),
                    nn.Conv2d(c_in, half, 1, bias=False),
                    nn.BatchNorm2d(half),
                    activation(),
                ]
            )
        self.main = nn.Sequential(
            nn.Conv2d(half if self.splits else c_in, half, 1, bias=False),
            nn.BatchNorm2d(half),
            activation(),
            nn.Conv2d(half, half, *depthwise, groups=half, bias=False),
            nn.BatchNorm2d(half),
            nn.Conv2d(half, half, 1, bias=False),
            nn.BatchNorm2d(half),
            activation(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """B x C_out x ceil(H/s) x ceil(W/s)."""
        by, through = images.chunk(2, 1) if self.splits else (images, images)
        halves = [half.movedim(1, 3) for half in (self.side(by), self.main(through))]
        return torch.stack(halves, 4).flatten(3).movedim(3, 1)
