"""A network layer by layer: what each puts out, and what it costs."""

from functools import partial

import torch
from torch import Tensor, nn

from kdsearch.config import Record
from kdsearch.models.count import count_parameters, macs_of_layer


class Layer(Record):
    """One layer without layers of its own, shown one image."""

    path: str  # in the network, as in its state dict
    kind: str
    shape: tuple[int, ...]  # of its answer, without the batch
    parameters: int
    macs: int


def layers_of(network: nn.Module, image_size: int) -> list[Layer]:
    """The layers in the order of the forward pass; leaves `network` in eval mode."""
    found: list[Layer] = []
    nothing = nn.Identity, nn.Sequential  # an empty one stands where a block has no such part
    leaves = [
        (path, layer)
        for path, layer in network.named_modules()
        if not any(layer.children()) and not isinstance(layer, nothing)
    ]
    hooks = [layer.register_forward_hook(partial(_note, found, path)) for path, layer in leaves]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, image_size, image_size))
    for hook in hooks:
        hook.remove()
    return found


def _note(found: list[Layer], path: str, layer: nn.Module, _: tuple[Tensor], answer: Tensor) -> None:
    found.append(
        Layer(
            path=path,
            kind=type(layer).__name__,
            shape=tuple(answer.shape[1:]),
            parameters=count_parameters(layer),
            macs=macs_of_layer(layer, answer),
        )
    )
