"""Arrays on the disk: temporary space while sets are made, and the files that hold them in the end."""

import math
import mmap
import os
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from kdsearch.cache import MORE_ROOM, amount
from kdsearch.errors import CacheDamagedError, DataError
from kdsearch.files import cache_root

ROWS = 4096  # copied at once


def scratch(shape: tuple[int, ...]) -> Tensor:
    """Zeros, uint8, in a file of the cache without a name, which disappears with the tensor.

    Raises DataError when the disk is full.
    """
    root, size = cache_root(), math.prod(shape)
    root.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=root) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, max(1, size))
        except OSError as error:
            raise DataError(f"{root}: {amount(size)} for images: {error.strerror}; {MORE_ROOM}") from None
        room = np.frombuffer(mmap.mmap(file.fileno(), max(1, size)), np.uint8)
    return torch.from_numpy(room[:size].reshape(shape))


def picked(images: Tensor, indices: Tensor, *, at_once: int = ROWS) -> Tensor:
    """The images uint8 N x C x H x W with these indices, in this order, contiguous."""
    copies = scratch((len(indices), *images.shape[1:]))
    for part, into in zip(torch.split(indices, at_once), torch.split(copies, at_once), strict=True):
        into.copy_(images[part])
    return copies


def blank(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> Tensor:
    """A new .npy file, mapped into memory to be written.

    Its disk space is allocated now: a disk that fills up under a mapped file kills the process that writes.
    Raises OSError when the disk is full.
    """
    mapped = open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return torch.from_numpy(mapped)


def mapped(path: Path) -> Tensor:
    """A .npy file, mapped into memory: processes of one machine share its pages. Raises CacheDamagedError."""
    try:
        return torch.from_numpy(np.load(path, mmap_mode="c"))
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise CacheDamagedError(f"{path}: damaged ({error})".splitlines()[0]) from None
