"""The one way in which an image file becomes pixels: for search, validation, export and prediction."""

import struct
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from kdsearch.data.image_set import ImageSet
from kdsearch.data.scratch import picked, scratch
from kdsearch.errors import DataError
from kdsearch.progress import Progress

DECODE_VERSION = 2  # part of the cache's key: raise it when the same file gives other pixels, or other files

BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)


class CorruptImageError(DataError):
    """A file that is not, or not wholly, an image."""


def decode(file: Path | BinaryIO, size: int) -> Tensor:
    """The image as uint8 C x size x size; C is 1 for gray files, else 3.

    Turned as its EXIF data say, transparency on white, 16 bits scaled to 8; the centre square, resized with
    antialiasing (bilinear). Raises CorruptImageError, or DataError where the system refuses to read the file.
    """
    name = file if isinstance(file, Path) else getattr(file, "name", "image")
    try:
        with Image.open(file) as opened:
            opened.draft(None, (2 * size, 2 * size))  # a large JPEG need not be decoded in full
            return torch.from_numpy(fitted(opaque(ImageOps.exif_transpose(opened)), size))
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"{name}: cannot be read ({error.strerror})") from error
        reason = str(error).replace(repr(str(name)), "file")
        raise CorruptImageError(
            f"{name}: not a readable image ({reason}); remove it, or set data.skip_corrupt = true"
        ) from error


def opaque(image: Image.Image) -> Image.Image:
    """The image in mode L, if it is gray, or RGB, laid on white where it is transparent."""
    if image.mode.startswith("I"):  # 16 bits, which Pillow also hands out as 32
        scaled = np.asarray(image).astype(np.float64).clip(0, 65535) / 257
        return Image.fromarray(scaled.round().astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    mode = "L" if image.mode in {"1", "L", "LA"} else "RGB"
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert(mode)


def fitted(image: Image.Image, size: int) -> np.ndarray:
    """The centre square of an L or RGB image as uint8 C x size x size."""
    pixels = np.array(ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy()


def resized(images: ImageSet, size: int) -> ImageSet:
    """The same images at another size, as if from files; the set itself where it has that size."""
    if images.images.shape[-2:] == (size, size):
        return images
    arrays = images.images.permute(0, 2, 3, 1).numpy()
    pictures = (Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array) for array in arrays)
    pixels = torch.from_numpy(np.stack([fitted(picture, size) for picture in pictures]))
    return ImageSet(pixels, images.labels, images.classes)


class Decoded(NamedTuple):
    """The images that could be read, and their indices among the files; gray only if all files were gray."""

    images: Tensor
    kept: Tensor


def decode_all(
    files: Sequence[Path], size: int, progress: Progress, task: str, *, skip_corrupt: bool
) -> Decoded:
    """Decodes in threads, since Pillow releases the interpreter's lock.

    Raises DataError for the first file in order that cannot be read; `skip_corrupt` leaves corrupt ones out.
    """
    pixels = scratch((len(files), 3, size, size))

    def into_place(index: int) -> int:
        try:
            image = decode(files[index], size)
        except CorruptImageError:
            if skip_corrupt:
                return 0
            raise
        pixels[index] = image
        return len(image)

    channels = np.zeros(len(files), int)
    with warnings.catch_warnings(), ThreadPoolExecutor() as threads:
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata in images that it reads well
        for index, found in enumerate(threads.map(into_place, range(len(files)))):
            channels[index] = found
            if (index + 1) % 64 == 0 or index + 1 == len(files):
                progress.step(task, index + 1, len(files))
    kept = torch.from_numpy(np.flatnonzero(channels))
    if channels.max(initial=0) == 1:
        pixels = pixels[:, :1]
    whole = len(kept) == len(files) and pixels.is_contiguous()
    return Decoded(pixels if whole else picked(pixels, kept), kept)
