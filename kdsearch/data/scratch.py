"""Room for images while sets are made of them: as large as the disk, not as memory."""

import math
import mmap
import os
from tempfile import TemporaryFile

import numpy as np
import torch
from torch import Tensor

from kdsearch.errors import DataError
from kdsearch.places import cache_root

ROWS = 4096  # copied at once


def scratch(shape: tuple[int, ...]) -> Tensor:
    """Zeros, uint8, in a file of the cache without a name, which goes when the tensor does.

    Raises DataError when the disk is full.
    """
    root, size = cache_root(), math.prod(shape)
    root.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=root) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, max(1, size))
        except OSError as error:
            raise DataError(
                f"{root}: {size / 2**30:.1f} GiB for images: {error.strerror}; free some, "
                "or let KDSEARCH_CACHE name a folder on a larger disk"
            ) from None
        room = np.frombuffer(mmap.mmap(file.fileno(), max(1, size)), np.uint8)
    return torch.from_numpy(room[:size].reshape(shape))


def picked(images: Tensor, indices: Tensor) -> Tensor:
    """The images uint8 N x C x H x W with these indices, in this order, contiguous."""
    found = scratch((len(indices), *images.shape[1:]))
    for part, into in zip(torch.split(indices, ROWS), torch.split(found, ROWS), strict=True):
        into.copy_(images[part])
    return found
