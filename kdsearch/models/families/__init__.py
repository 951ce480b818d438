"""The blocks of students, by the names that study files use."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from kdsearch.config import Record
from kdsearch.models.families.convnext import ConvNeXt, ConvNeXtConfig
from kdsearch.models.families.dwpw import DepthwisePointwise
from kdsearch.models.families.dwsep import DepthwiseSeparable
from kdsearch.models.families.fire import Fire, FireConfig
from kdsearch.models.families.ghost import Ghost, GhostConfig
from kdsearch.models.families.grouped import Grouped, GroupedConfig
from kdsearch.models.families.inverted import InvertedResidual, InvertedResidualConfig
from kdsearch.models.families.kernel import KernelConfig
from kdsearch.models.families.mixed import Mixed, MixedConfig
from kdsearch.models.families.plain import Plain
from kdsearch.models.families.recurrent import Recurrent, RecurrentConfig
from kdsearch.models.families.shuffle import ShuffleUnit
from kdsearch.models.families.xception import Xception


class Family(NamedTuple):
    """A block, made as `block(c_in, c_out, stride, activation, **options)`, and the Record of its options.

    The block maps B x c_in x H x W to B x c_out x ceil(H/stride) x ceil(W/stride); both channel counts are
    multiples of `multiple(options)`. Its source is exported, so it uses nothing but `torch`, `Tensor` and
    `nn`; for the same reason its config is beside it, not inside.
    """

    block: type[nn.Module]
    config: type[Record]
    multiple: Callable[[Any], int] = lambda _: 1
    residual: bool = False  # it has a shortcut of its own, and its paper's form needs no other


FAMILIES: dict[str, Family] = {
    "plain": Family(Plain, KernelConfig),
    "dwpw": Family(DepthwisePointwise, KernelConfig),
    "dwsep": Family(DepthwiseSeparable, KernelConfig),
    "inverted": Family(InvertedResidual, InvertedResidualConfig, residual=True),
    "grouped": Family(Grouped, GroupedConfig, lambda options: options.groups),
    "fire": Family(Fire, FireConfig, lambda _: 2),
    "shuffle": Family(ShuffleUnit, KernelConfig, lambda _: 2, residual=True),
    "xception": Family(Xception, KernelConfig, residual=True),
    "ghost": Family(Ghost, GhostConfig),
    "convnext": Family(ConvNeXt, ConvNeXtConfig, residual=True),
    "mixed": Family(Mixed, MixedConfig, lambda _: 4, residual=True),
    "recurrent": Family(Recurrent, RecurrentConfig, residual=True),
}
