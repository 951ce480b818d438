"""The outputs of networks, which losses read."""

from typing import NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """A network's outputs for B images."""

    logits: Tensor  # B x C
    embedding: Tensor  # B x D, the input of the last linear layer
    hints: dict[str, Tensor]  # feature maps by layer name, B x C_l x H_l x W_l


class Shapes(NamedTuple):
    """The sizes of a network's outputs, for one image."""

    classes: int
    embedding: int
    hints: dict[str, tuple[int, ...]]


class Mixed(NamedTuple):
    """What B images hold of another image beside their own."""

    labels: Tensor  # int64, B, of the other image
    weight: Tensor  # float32, B, of the image's own label: 0.5 to 1
