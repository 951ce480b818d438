"""The number of workers for a machine, and each worker's share."""

from math import ceil
from typing import Any

import joblib
import psutil

MOST = 8
GIB = 2**30


def share_of(
    index: int, workers: int, device: str, cuda_devices: int, *, cores: int | None = None
) -> dict[str, Any]:
    """The share of this machine for one of several workers, by the fields of `Prepared`.

    `device` is the study's; `cores` is how many may be used, by default those of this machine. On the CPU a
    worker has one thread, beside a GPU its part of the cores: it gathers batches.
    """
    if not cuda_devices:
        return {"device": device, "sharing": workers, "threads": 1}
    return {
        "device": f"cuda:{index % cuda_devices}" if device == "cuda" else device,
        "sharing": ceil(workers / cuda_devices),
        "threads": max(1, (cores or joblib.cpu_count()) // workers),
    }


def count_workers(wanted: str, cuda_devices: int) -> int:
    """`wanted` if it is a number; `auto` is one per GPU, else one per usable core.

    At most 8 of the latter, and one per GiB of free memory. Usable means within the process's affinity and
    its container's quota.
    """
    if wanted != "auto":
        return int(wanted)
    if cuda_devices:
        return cuda_devices
    free = psutil.virtual_memory().available // GIB
    return int(max(1, min(joblib.cpu_count(), MOST, free)))
