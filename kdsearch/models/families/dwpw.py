"""The depthwise convolution followed at once by a pointwise one."""

from torch import nn


class DepthwisePointwise(nn.Sequential):
    """Depthwise k x k and pointwise 1 x 1 with nothing between, BatchNorm, activation.

    The factorised convolution of the course task's published students, with their biases: B x C_in x H x W to
    B x C_out x H/s x W/s, with `C_in (k^2 + 1) + C_in C_out + 3 C_out` parameters.
    """

    def __init__(
        self, c_in: int, c_out: int, stride: int, activation: type[nn.Module], *, kernel: int
    ) -> None:
        super().__init__(
            nn.Conv2d(c_in, c_in, kernel, stride, kernel // 2, groups=c_in),
            nn.Conv2d(c_in, c_out, 1),
            nn.BatchNorm2d(c_out),
            activation(),
        )
