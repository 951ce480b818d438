"""The size of a student, counted on the built module and not by a second set of formulas."""

import json
from functools import lru_cache

import torch
from torch import nn

from kdsearch.models.shown import Shown, leaves, show_one
from kdsearch.models.student import NetworkConfig, build_student, read_config


def count_parameters(module: nn.Module) -> int:
    """All parameters, trainable or not: weights, biases, BatchNorm's affine; no buffers."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(module: nn.Module, image_size: int) -> int:
    """Multiply-adds of all convolutions and linear layers for one image; leaves `module` in eval mode.

    The count agrees with `torch.utils.flop_counter`. That one, like any run on the meta device, costs a
    training process a second and 150 MiB of imports, so this uses hooks and a real run.
    """
    return sum(map(macs_of_layer, show_one(module, image_size, leaves(module))))


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


def macs_of_layer(shown: Shown) -> int:
    """The multiply-adds for its output; 0 for a module that is neither a convolution nor linear."""
    layer = shown.module
    return shown.shape.numel() * layer.weight[0].numel() if isinstance(layer, nn.Conv2d | nn.Linear) else 0
