"""The plain convolution."""

from torch import nn


class Plain(nn.Sequential):
    """Convolution k x k, BatchNorm, activation: B x C_in x H x W to B x C_out x H/s x W/s.

    `k^2 C_in C_out + 2 C_out` parameters; no bias, since BatchNorm follows.
    """

    def __init__(
        self, c_in: int, c_out: int, stride: int, activation: type[nn.Module], *, kernel: int
    ) -> None:
        super().__init__(
            nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(c_out),
            activation(),
        )
