"""How many workers a machine takes."""

import joblib
import psutil

MOST = 8
GIB = 2**30


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
