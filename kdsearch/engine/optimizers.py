"""Optimizers and learning-rate schedules by name, all torch's own, and the average of the weights.

The optimizers are fused: a tiny network's step is mostly the launching of small operations.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, OneCycleLR, SequentialLR


def cosine(optimizer: Optimizer, steps: int, warmup: float) -> LRScheduler:
    """A linear warm-up over the fraction `warmup` of all steps, then half a cosine down to zero."""
    warm = min(round(warmup * steps), steps - 1)
    decay = CosineAnnealingLR(optimizer, T_max=steps - warm)
    if warm == 0:
        return decay
    rise = LinearLR(optimizer, start_factor=1 / (warm + 1), total_iters=warm)
    return SequentialLR(optimizer, [rise, decay], milestones=[warm])


def onecycle(optimizer: Optimizer, steps: int, warmup: float) -> LRScheduler:
    """Up from a 25th of the learning rate over the fraction `warmup`, then down to nothing.

    Momentum, AdamW's first beta, goes the other way, from 0.95 to 0.85 and back (arXiv 1708.07120, 2017).
    """
    peak = optimizer.param_groups[0]["lr"]
    return OneCycleLR(optimizer, max_lr=peak, total_steps=steps + 1, pct_start=max(warmup, 1 / steps))


def constant(optimizer: Optimizer, steps: int, warmup: float) -> LRScheduler:
    """The learning rate as it is, after a linear warm-up over the fraction `warmup` of all steps."""
    warm = min(round(warmup * steps), steps - 1)
    return LinearLR(optimizer, start_factor=1 / (warm + 1), total_iters=warm)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {  # make(parameters, lr=..., weight_decay=...)
    "adamw": partial(AdamW, fused=True),  # arXiv 1711.05101, 2017
    "adam": partial(Adam, fused=True),  # arXiv 1412.6980, 2014: weight decay within the gradient
    "sgd": partial(SGD, momentum=0.9, nesterov=True, fused=True),
}
SCHEDULES: dict[str, Callable[[Optimizer, int, float], LRScheduler]] = {
    "cosine": cosine,
    "onecycle": onecycle,
    "constant": constant,
}


class Average:
    """A copy of `network`, buffers included; `follow` moves it 1 / `horizon` of the way to its weights now.

    The same as torch's AveragedModel, but one launch instead of a loop over the tensors: 0.02 ms a step
    instead of 0.43 for a student of 30 tensors on a CPU, whose whole step takes 5.
    """

    def __init__(self, network: nn.Module, horizon: float) -> None:
        self.network = deepcopy(network)
        self.share = 1 / horizon
        pairs = list(zip(self.network.state_dict().values(), network.state_dict().values(), strict=True))
        self.floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self.counters = [pair for pair in pairs if not pair[0].is_floating_point()]

    def follow(self, *, wholly: bool) -> None:
        """One step after one of the network's; `wholly` takes over its weights, as the first step should."""
        ours, theirs = columns(self.floats)
        torch._foreach_lerp_(ours, theirs, 1.0 if wholly else self.share)
        if self.counters:
            torch._foreach_copy_(*columns(self.counters))


def columns(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors of the average, and those of the network."""
    return [ours for ours, _ in pairs], [theirs for _, theirs in pairs]
