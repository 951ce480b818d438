"""A network layer by layer: the output and the cost of each layer."""

from torch import nn

from kdsearch.config import Record
from kdsearch.models.count import count_parameters, macs_of_layer
from kdsearch.models.shown import leaves, show_one


class Layer(Record):
    """One layer that has no layers inside, with its output for one image."""

    path: str  # in the network, as in its state dict
    kind: str
    shape: tuple[int, ...]  # of its answer, without the batch
    parameters: int
    macs: int


def layers_of(network: nn.Module, image_size: int) -> list[Layer]:
    """The layers in the order of the forward pass; leaves `network` in eval mode."""
    nothing = nn.Identity, nn.Sequential  # an empty one stands where a block has no such part
    layers = [(path, layer) for path, layer in leaves(network) if not isinstance(layer, nothing)]
    return [
        Layer(
            path=shown.path,
            kind=type(shown.module).__name__,
            shape=tuple(shown.shape[1:]),
            parameters=count_parameters(shown.module),
            macs=macs_of_layer(shown),
        )
        for shown in show_one(network, image_size, layers)
    ]
