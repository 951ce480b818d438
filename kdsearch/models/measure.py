"""The size of a network, layer by layer, measured on the built module and not by a second set of formulas."""

import json
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kdsearch.config import Record
from kdsearch.models.student import NetworkConfig, build_student, read_config


class Shown(NamedTuple):
    """A module's output: a tensor of `shape`, for a batch of one."""

    path: str  # in the network, as in its state dict
    module: nn.Module
    shape: torch.Size


class Layer(Record):
    """One layer that has no layers inside, with its output for one image."""

    path: str  # in the network, as in its state dict
    kind: str
    shape: tuple[int, ...]  # of its output, without the batch
    parameters: int
    macs: int


def count_parameters(module: nn.Module) -> int:
    """All parameters, trainable or not: weights, biases, BatchNorm's affine; no buffers."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(module: nn.Module, image_size: int) -> int:
    """Multiply-adds of all convolutions and linear layers for one image; leaves `module` in eval mode.

    The count agrees with `torch.utils.flop_counter`. That one, like any run on the meta device, costs a
    training process a second and 150 MiB of imports, so this uses hooks and a real run.
    """
    return sum(map(_macs_of_layer, show_one(module, image_size, _leaves(module))))


def parameters_of(config: NetworkConfig) -> int:
    """The exact parameter count of the student of `config`; draws no random numbers."""
    return _parameters(config.model_dump_json())


def macs_of(config: NetworkConfig, image_size: int) -> int:
    """The multiply-adds of that student for one image of `image_size` x `image_size`."""
    return _macs(config.model_dump_json(), image_size)


# A Record that holds a dict has no hash: its JSON is the key.
@lru_cache(maxsize=4096)
def _parameters(config: str) -> int:
    with torch.device("meta"):
        return count_parameters(build_student(read_config(json.loads(config))))


@lru_cache(maxsize=4096)
def _macs(config: str, image_size: int) -> int:
    with torch.random.fork_rng(devices=[]):
        return count_macs(build_student(read_config(json.loads(config))), image_size)


def layers_of(network: nn.Module, image_size: int) -> list[Layer]:
    """The layers in the order of the forward pass; leaves `network` in eval mode."""
    nothing = nn.Identity, nn.Sequential  # an empty one stands for a part that a block lacks
    layers = [(path, layer) for path, layer in _leaves(network) if not isinstance(layer, nothing)]
    return [
        Layer(
            path=shown.path,
            kind=type(shown.module).__name__,
            shape=tuple(shown.shape[1:]),
            parameters=count_parameters(shown.module),
            macs=_macs_of_layer(shown),
        )
        for shown in show_one(network, image_size, layers)
    ]


def show_one(network: nn.Module, image_size: int, modules: Iterable[tuple[str, nn.Module]]) -> list[Shown]:
    """Those of `modules` whose output is a tensor, in the order of the forward pass.

    Leaves `network` in eval mode. Raises the network's own error if it cannot read images of that size.
    """
    outputs: list[Shown] = []

    def note(path: str, module: nn.Module, _: tuple[Tensor], output: Any) -> None:
        if isinstance(output, Tensor):
            outputs.append(Shown(path, module, output.shape))

    hooks = [module.register_forward_hook(partial(note, path)) for path, module in modules]
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, image_size, image_size))
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


def _leaves(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules that hold no others, by path."""
    return [(path, module) for path, module in network.named_modules() if not any(module.children())]


def _macs_of_layer(shown: Shown) -> int:
    """The multiply-adds for its output; 0 for a module that is neither a convolution nor linear."""
    layer = shown.module
    return shown.shape.numel() * layer.weight[0].numel() if isinstance(layer, nn.Conv2d | nn.Linear) else 0
