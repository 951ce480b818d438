"""The outputs of a network's modules for one image."""

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Shown(NamedTuple):
    """A module's output: a tensor of `shape`, for a batch of one."""

    path: str  # in the network, as in its state dict
    module: nn.Module
    shape: torch.Size


def leaves(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules that hold no others, by path."""
    return [(path, module) for path, module in network.named_modules() if not any(module.children())]


def show_one(network: nn.Module, image_size: int, modules: Iterable[tuple[str, nn.Module]]) -> list[Shown]:
    """Those of `modules` whose output is a tensor, in the order of the forward pass.

    Leaves `network` in eval mode. Raises the network's own error if it cannot read images of that size.
    """
    outputs: list[Shown] = []

    def note(path: str, module: nn.Module, _: tuple[Tensor], answer: Any) -> None:
        if isinstance(answer, Tensor):
            outputs.append(Shown(path, module, answer.shape))

    hooks = [module.register_forward_hook(partial(note, path)) for path, module in modules]
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, image_size, image_size))
    finally:
        for hook in hooks:
            hook.remove()
    return outputs
