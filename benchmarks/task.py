"""What all sides of a speed comparison are given, and a fresh process for each. Loads no torch.

Nothing of one side's threads, allocator or compiled kernels reaches another one's, and the processes of
kdsearch's workers start beside a parent as light as their supervisor.
"""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from typing import Any, NamedTuple


class Task(NamedTuple):
    """Images, teacher and search space, the same for all sides."""

    study: str  # the shipped study that names space, augmentation and training
    folder: str  # of train/CLASS/FILE and validation/CLASS/FILE
    teacher: str  # weights of a torchvision ResNet18, for these classes
    settings: dict[str, Any]  # that stand above the study's own, by table.key


def fresh(target: str, *args: Any) -> Any:
    """The answer of `module:function` in a process of its own, which may have children."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_call, target, args).result()


def _call(target: str, args: tuple[Any, ...]) -> Any:
    module, function = target.split(":")
    return getattr(import_module(module), function)(*args)


def epoch_seconds(trainings: Iterable[Iterator[Any]]) -> list[float]:
    """What each epoch of these trainings took but the first, in which they warm up."""
    seconds = []
    for training in trainings:
        next(training)
        started = time.perf_counter()
        for _ in training:
            seconds.append(time.perf_counter() - started)
            started = time.perf_counter()
    return seconds
