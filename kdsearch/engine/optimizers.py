"""Optimizers and learning-rate schedules by name, all torch's own.

The optimizers are fused: a tiny network's step is mostly the launching of small operations.
"""

from collections.abc import Callable, Iterable

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, OneCycleLR, SequentialLR


def adamw(parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> Optimizer:
    """AdamW (arXiv 1711.05101, 2017)."""
    return AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)


def adam(parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> Optimizer:
    """Adam (arXiv 1412.6980, 2014), weight decay within the gradient."""
    return Adam(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)


def sgd(parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> Optimizer:
    """SGD with Nesterov momentum 0.9."""
    return SGD(
        parameters, lr=learning_rate, weight_decay=weight_decay, momentum=0.9, nesterov=True, fused=True
    )


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


OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter], float, float], Optimizer]] = {
    "adamw": adamw,
    "adam": adam,
    "sgd": sgd,
}
SCHEDULES: dict[str, Callable[[Optimizer, int, float], LRScheduler]] = {
    "cosine": cosine,
    "onecycle": onecycle,
    "constant": constant,
}
