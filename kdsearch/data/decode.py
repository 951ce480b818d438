"""Image files as tensors, all of a split at once: for search, validation and test."""

import warnings
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kdsearch.data.image_set import ImageSet
from kdsearch.data.pixels import CorruptImageError, fitted, pixels_of
from kdsearch.data.scratch import picked, scratch
from kdsearch.data.threads import in_threads
from kdsearch.data.walk import FORMATS
from kdsearch.errors import DataError
from kdsearch.files import open_regular
from kdsearch.progress import Progress
from kdsearch.tables import Fit

DECODE_VERSION = 3  # part of the cache's key: raise it when the same file gives other pixels, or other files

SAMPLE = 256  # files, about, whose headers tell the size of all


def decode(file: Path | BinaryIO, size: int, fit: Fit = "crop") -> Tensor:
    """`pixels_of` as a tensor; its CorruptImageError names a study's cure."""
    try:
        return torch.from_numpy(pixels_of(file, size, fit))
    except CorruptImageError as error:
        raise CorruptImageError(f"{error}; repair or remove it, or set data.skip_corrupt = true") from None


def resized(image_set: ImageSet, size: int) -> ImageSet:
    """The same images at another size, as if from files; the set itself if it has that size."""
    images = at_size(image_set, size)
    same = images is image_set.images
    return image_set if same else ImageSet(images, image_set.labels, image_set.classes)


def at_size(image_set: ImageSet, size: int) -> Tensor:
    """The whole pictures, uint8 N x C x size x size, reduced from the largest that there are.

    The images themselves if they have that size.
    """
    if image_set.images.shape[-2:] == (size, size):
        return image_set.images
    arrays = image_set.pixels.permute(0, 2, 3, 1).numpy()
    pictures = (Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array) for array in arrays)
    return torch.from_numpy(np.stack([fitted(picture, size) for picture in pictures]))


class Decoded(NamedTuple):
    """The images that could be read, and their indices among the files; gray only if all files were gray."""

    images: Tensor
    kept: Tensor
    source: Tensor | None = None  # the same pictures at a larger size, if asked for


def decode_all(
    files: Sequence[Path],
    size: int,
    progress: Progress,
    task: str,
    *,
    skip_corrupt: bool,
    fit: Fit = "crop",
    source_size: int | None = None,
) -> Decoded:
    """Decodes in threads, since Pillow releases the interpreter's lock; at `source_size` too, if given.

    Raises DataError for the first file in order that cannot be read; `skip_corrupt` leaves corrupt ones out.
    """
    pixels = scratch((len(files), 3, size, size))
    larger = None if source_size is None else scratch((len(files), 3, source_size, source_size))

    def into_place(index: int) -> int:
        try:
            image = decode(files[index], size, fit)
            if larger is not None and source_size is not None:
                larger[index] = decode(files[index], source_size, fit)
        except CorruptImageError as error:
            if skip_corrupt:
                return 0
            raise DataError(str(error)) from None
        pixels[index] = image
        return len(image)

    channels = np.zeros(len(files), int)
    with warnings.catch_warnings(), closing(in_threads(into_place, len(files))) as counts:
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata in images that it reads well
        for index, channel_count in enumerate(counts):
            channels[index] = channel_count
            if (index + 1) % 64 == 0 or index + 1 == len(files):
                progress.step(task, index + 1, len(files))
    kept = torch.from_numpy(np.flatnonzero(channels))
    deep = 1 if channels.max(initial=0) == 1 else 3

    def of_kept(made: Tensor) -> Tensor:
        whole = len(kept) == len(files) and deep == made.shape[1]
        return made if whole else picked(made[:, :deep], kept)

    return Decoded(of_kept(pixels), kept, None if larger is None else of_kept(larger))


def usual_side(files: Sequence[Path]) -> int:
    """The shorter side that half of the files have at least, by the headers of a few; 0 if none is read."""
    sides = []
    for file in files[:: max(1, len(files) // SAMPLE)]:
        with suppress(Exception), warnings.catch_warnings():  # a damaged one is said when it is decoded
            warnings.simplefilter("ignore")
            with open_regular(file) as opened, Image.open(opened, formats=tuple(FORMATS)) as image:
                sides.append(min(image.size))
    return sorted(sides)[(len(sides) - 1) // 2] if sides else 0
