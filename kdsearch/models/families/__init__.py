"""The blocks of students, by the names that study files use."""

from typing import NamedTuple

from torch import nn

from kdsearch.models.families.convnext import ConvNeXt, ConvNeXtConfig
from kdsearch.models.families.dwpw import DepthwisePointwise, DepthwisePointwiseConfig
from kdsearch.models.families.dwsep import DepthwiseSeparable, DepthwiseSeparableConfig
from kdsearch.models.families.fire import Fire, FireConfig
from kdsearch.models.families.ghost import Ghost, GhostConfig
from kdsearch.models.families.grouped import Grouped, GroupedConfig
from kdsearch.models.families.inverted import InvertedResidual, InvertedResidualConfig
from kdsearch.models.families.mixed import Mixed, MixedConfig
from kdsearch.models.families.options import Options
from kdsearch.models.families.plain import Plain, PlainConfig
from kdsearch.models.families.recurrent import Recurrent, RecurrentConfig
from kdsearch.models.families.shuffle import ShuffleUnit, ShuffleUnitConfig
from kdsearch.models.families.xception import Xception, XceptionConfig


class Family(NamedTuple):
    """A block, made as `block(c_in, c_out, stride, activation, **options)`, and the Record of its options.

    The block maps B x c_in x H x W to B x c_out x ceil(H/stride) x ceil(W/stride). Its source is exported, so
    it uses nothing but `torch`, `Tensor` and `nn`; for the same reason its config is beside it, not inside.
    """

    block: type[nn.Module]
    config: type[Options]
    residual: bool = False  # it has a shortcut of its own, and its paper's form needs no other


FAMILIES: dict[str, Family] = {
    "plain": Family(Plain, PlainConfig),
    "dwpw": Family(DepthwisePointwise, DepthwisePointwiseConfig),
    "dwsep": Family(DepthwiseSeparable, DepthwiseSeparableConfig),
    "inverted": Family(InvertedResidual, InvertedResidualConfig, residual=True),
    "grouped": Family(Grouped, GroupedConfig),
    "fire": Family(Fire, FireConfig),
    "shuffle": Family(ShuffleUnit, ShuffleUnitConfig, residual=True),
    "xception": Family(Xception, XceptionConfig, residual=True),
    "ghost": Family(Ghost, GhostConfig),
    "convnext": Family(ConvNeXt, ConvNeXtConfig, residual=True),
    "mixed": Family(Mixed, MixedConfig, residual=True),
    "recurrent": Family(Recurrent, RecurrentConfig, residual=True),
}
