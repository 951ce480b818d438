"""Networks compared."""

import torch
from torch import nn


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether both have the same weights."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
