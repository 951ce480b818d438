"""The blocks that students are made of, by the name that study files use."""

from typing import NamedTuple

from torch import nn

from kdsearch.config import Record
from kdsearch.models.families.dwsep import DepthwiseSeparable, DepthwiseSeparableConfig
from kdsearch.models.families.plain import Plain, PlainConfig


class Family(NamedTuple):
    """A block, made as `block(c_in, c_out, stride, activation, **options)`, and the Record of its options.

    The block maps B x c_in x H x W to B x c_out x ceil(H/stride) x ceil(W/stride). Its source is exported, so
    it uses nothing but `torch`, `Tensor` and `nn`; hence its config beside it, not inside.
    """

    block: type[nn.Module]
    config: type[Record]


FAMILIES: dict[str, Family] = {
    "plain": Family(Plain, PlainConfig),
    "dwsep": Family(DepthwiseSeparable, DepthwiseSeparableConfig),
}
