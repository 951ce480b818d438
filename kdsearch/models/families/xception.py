"""The Xception module."""

from torch import Tensor, nn


class Xception(nn.Module):
    """Twice activation, depthwise k x k, pointwise 1 x 1, BatchNorm; a 3 x 3 maximum of stride s, a shortcut.

    The module of Xception's entry flow (arXiv 1610.02357, figure 5): B x C_in x H x W to B x C_out x H/s x
    W/s. The shortcut is the input itself if shapes allow, else a convolution 1 x 1 with BatchNorm.
    """

    def __init__(
        self, c_in: int, c_out: int, stride: int, activation: type[nn.Module], *, kernel: int
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for inside in (c_in, c_out):
            self.layers.extend(
                [
                    activation(),
                    nn.Conv2d(inside, inside, kernel, 1, kernel // 2, groups=inside, bias=False),
                    nn.Conv2d(inside, c_out, 1, bias=False),
                    nn.BatchNorm2d(c_out),
                ]
            )
        if stride == 2:
            self.layers.append(nn.MaxPool2d(3, 2, 1))
        self.shortcut = nn.Sequential()
        if stride == 2 or c_in != c_out:
            self.shortcut.extend([nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)])

    def forward(self, images: Tensor) -> Tensor:
        """B x C_out x ceil(H/s) x ceil(W/s)."""
        added: Tensor = self.layers(images) + self.shortcut(images)
        return added
