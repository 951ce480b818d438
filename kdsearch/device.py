"""Where tensors live and in which precision networks compute."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from kdsearch.errors import UsageError

ALLOWED = "allowed: auto, cpu, cuda, cuda:0, ..."


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU; any other name is torch's. Raises UsageError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: not a device; {ALLOWED}") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: not supported; {ALLOWED}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count() or "no"
        raise UsageError(f"--device {name}: PyTorch sees {found} CUDA device here; --device cpu needs none")
    return device


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 autocast on CUDA, plain float32 elsewhere."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generators, seeded inside the block and as they were after it."""
    with forked():
        torch.manual_seed(seed)
        yield


def forked() -> AbstractContextManager[None]:
    """Torch's global generators, on all devices, are after the block as they were before it."""
    return torch.random.fork_rng(devices=range(torch.cuda.device_count()))


def describe(device: torch.device) -> str:
    """The device in words, for tags and benchmarks."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
