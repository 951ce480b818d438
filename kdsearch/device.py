"""Devices, memory and precision."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from kdsearch.errors import UsageError

CPU = torch.device("cpu")
ALLOWED = "allowed: auto, cpu, cuda, cuda:0, ..."


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA if there is one, else the CPU; any other name is torch's. Raises UsageError.

    A GPU with a number becomes the process's current one: pinned memory and the handles of CUDA's libraries
    belong to the current one, and would otherwise take half a GiB of the first GPU as well.
    """
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
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    return device


def autocast(device: torch.device, *, bfloat16: bool = False) -> AbstractContextManager[object]:
    """bfloat16 autocast on CUDA, and elsewhere plain float32 unless `bfloat16` says otherwise."""
    if device.type == "cuda" or bfloat16:
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device is a CPU with instructions for bfloat16; others emulate it, slowly."""
    return device.type == "cpu" and (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )


def exact(device: torch.device) -> AbstractContextManager[object]:
    """Full float32 in the block: by default cuDNN rounds the inputs of convolutions to 10 bits (TF32)."""
    if device.type != "cuda":
        return nullcontext()
    cudnn = torch.backends.cudnn
    return cudnn.flags(cudnn.enabled, cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False)


def share(device: torch.device, workers: int) -> None:
    """Limits this process to one part in `workers` of a GPU's memory, so that it fails without the others."""
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(1 / workers, _index(device))


class Memory(NamedTuple):
    """A GPU's memory in bytes as a process sees it; `share` is the part of the total that it may take."""

    free: int
    total: int
    reserved: int  # by its own allocator
    used: int  # of what is reserved
    share: float

    @property
    def room(self) -> float:
        """Half of what the process may still take; what its allocator holds and does not use is free."""
        return (min(self.share * self.total, self.free + self.reserved) - self.used) / 2


def memory_of(device: torch.device) -> Memory:
    """The memory of a GPU; `cuda` alone is the current one."""
    return Memory(
        *torch.cuda.mem_get_info(device),
        torch.cuda.memory_reserved(device),
        torch.cuda.memory_allocated(device),
        torch.cuda.get_per_process_memory_fraction(_index(device)),
    )


def has_room(device: torch.device, size: int) -> bool:
    """Whether `size` bytes may stay on the device: on a GPU, within `Memory.room`."""
    return device.type != "cuda" or size <= memory_of(device).room


def _index(device: torch.device) -> int:
    """The number of a GPU; `cuda` alone is the current one."""
    return torch.cuda.current_device() if device.index is None else device.index


def placed(images: Tensor, device: torch.device) -> Tensor:
    """The images on `device` if it has room for them, else unchanged."""
    return images.to(device) if has_room(device, images.nbytes) else images


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`; to a GPU without waiting for the copy."""
    if device.type == "cuda" and not tensor.is_cuda:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@contextmanager
def seeded(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """Seeds torch's global generators of CPU and `device` in the block, and restores them after it."""
    with forked(device):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU as well
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def forked(device: torch.device) -> AbstractContextManager[None]:
    """Restores torch's global generators of CPU and `device` after the block.

    It touches a GPU only if that is the device: reading a GPU's generator starts CUDA.
    """
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [], device_type="cuda")


def describe(device: torch.device) -> str:
    """The device in words, for tags and benchmarks."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
