"""The depthwise-separable convolution."""

from torch import nn


class DepthwiseSeparable(nn.Sequential):
    """Depthwise k x k, BatchNorm, activation, pointwise 1 x 1, BatchNorm, activation.

    The block of MobileNets (arXiv 1704.04861, figure 3): B x C_in x H x W to B x C_out x H/s x W/s, with
    `C_in (k^2 + 2) + C_in C_out + 2 C_out` parameters; no biases, since BatchNorm follows.
    """

    def __init__(
        self, c_in: int, c_out: int, stride: int, activation: type[nn.Module], *, kernel: int
    ) -> None:
        super().__init__(
            nn.Conv2d(c_in, c_in, kernel, stride, kernel // 2, groups=c_in, bias=False),
            nn.BatchNorm2d(c_in),
            activation(),
            nn.Conv2d(c_in, c_out, 1, bias=False),
            nn.BatchNorm2d(c_out),
            activation(),
        )
