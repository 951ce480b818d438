"""Published students, layer by layer. They take what their authors fed them: normalised images."""

from collections.abc import Callable

from torch import nn


def conv(c_in: int, c_out: int, padding: int = 0) -> nn.Sequential:
    """A 3 x 3 convolution with bias, BatchNorm, ReLU."""
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=padding), nn.BatchNorm2d(c_out), nn.ReLU())


def dwpw(c_in: int, c_out: int) -> nn.Sequential:
    """Depthwise 3 x 3 without padding, pointwise 1 x 1, nothing between; BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(c_in, c_in, 3, groups=c_in), nn.Conv2d(c_in, c_out, 1), nn.BatchNorm2d(c_out), nn.ReLU()
    )


def pooled_head(width: int, classes: int) -> nn.Sequential:
    """Global average pooling and a linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def s0_first(classes: int) -> nn.Sequential:
    """The first student of S0: 56,235 parameters for 11 classes."""
    return nn.Sequential(
        conv(3, 4),
        conv(4, 16),
        nn.MaxPool2d(2),
        dwpw(16, 64),
        nn.MaxPool2d(2),
        dwpw(64, 64),
        conv(64, 64),
        nn.MaxPool2d(2),
        dwpw(64, 64),
        dwpw(64, 84),
        nn.MaxPool2d(2),
        pooled_head(84, classes),
    )


def s0_second(classes: int) -> nn.Sequential:
    """The second student of S0: 50,283 parameters for 11 classes."""
    return nn.Sequential(
        conv(3, 4),
        conv(4, 16),
        nn.MaxPool2d(2),
        dwpw(16, 64),
        dwpw(64, 32),
        nn.MaxPool2d(2),
        conv(32, 32),
        nn.MaxPool2d(2),
        dwpw(32, 128),
        dwpw(128, 128),
        nn.MaxPool2d(2),
        dwpw(128, 84),
        pooled_head(84, classes),
    )


def s4(classes: int) -> nn.Sequential:
    """The student of S4, for 28 x 28 x 3: 98,954 parameters and 2,220,032 multiply-adds for 10 classes.

    Its report gives no rate for the dropout; a half is our reading.
    """
    maps = [
        layer
        for c_in, c_out in ((3, 16), (16, 32), (32, 64))
        for layer in (conv(c_in, c_out, 1), nn.AvgPool2d(2))
    ]
    head = [nn.Flatten(), nn.Linear(576, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, classes)]
    return nn.Sequential(*maps, *head)


PUBLISHED: dict[str, Callable[[int], nn.Sequential]] = {
    "s0-first": s0_first,
    "s0-second": s0_second,
    "s4": s4,
}
