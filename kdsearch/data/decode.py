"""The one way in which an image file becomes pixels: for search, validation, export and prediction."""

import errno
import warnings
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from kdsearch.data.image_set import ImageSet
from kdsearch.data.scratch import picked, scratch
from kdsearch.data.walk import FORMATS
from kdsearch.errors import DataError, KdsearchError
from kdsearch.files import open_regular
from kdsearch.progress import Progress
from kdsearch.tables import Fit

DECODE_VERSION = 3  # part of the cache's key: raise it when the same file gives other pixels, or other files

SAMPLE = 256  # files, about, whose headers tell the size of all
BITS_PER_SAMPLE = 258  # TIFF's tag
LEADS_NOWHERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
NO_SYSTEM_ERROR = {None, errno.EINVAL}  # the latter from a seek to an offset that a damaged file gives


class CorruptImageError(KdsearchError):
    """The file is no image, or a damaged one."""

    exit_code = 2


def decode(file: Path | BinaryIO, size: int, fit: Fit = "crop") -> Tensor:
    """The image as uint8 C x size x size; C is 1 for gray files, else 3.

    It is rotated as its EXIF data say, transparency becomes white, 16 bits are scaled to 8; the result is the
    centre square, or the whole image as `fit` says, resized with antialiasing (bilinear). Raises
    CorruptImageError, also for a link that leads nowhere; DataError if the system refuses to read the file,
    or has no memory for it.
    """
    if not isinstance(file, Path):
        return decode_open(file, size, getattr(file, "name", "image"), fit)
    try:
        with open_regular(file) as opened:
            return decode_open(opened, size, str(file), fit)
    except OSError as error:
        if file.is_symlink() and error.errno in LEADS_NOWHERE:
            raise CorruptImageError(
                f"{file}: a link that leads nowhere; repair or remove it, or set data.skip_corrupt = true"
            ) from None
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error


def decode_open(file: BinaryIO, size: int, name: str, fit: Fit) -> Tensor:
    """Decodes an open file as `decode` does; errors call it `name`."""
    try:
        with Image.open(file, formats=tuple(FORMATS)) as opened:
            opened.draft(None, (2 * size, 2 * size))  # a large JPEG need not be decoded in full
            check_range(opened)
            return torch.from_numpy(fitted(opaque(ImageOps.exif_transpose(opened)), size, fit))
    except MemoryError:
        raise DataError(f"{name}: too little memory for an image of its size; remove it") from None
    except UnidentifiedImageError:
        reason = f"it is none of {', '.join(FORMATS)}"
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in NO_SYSTEM_ERROR:
            raise
        reason = str(error) or type(error).__name__
    raise CorruptImageError(
        f"{name}: not a readable image ({reason}); remove it, or set data.skip_corrupt = true"
    )


def check_range(image: Image.Image) -> None:
    """Raises ValueError for pixel types without a known black and white."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if isinstance(image, TiffImageFile) and image.mode == "I" and 32 in image.tag_v2.get(BITS_PER_SAMPLE, ()):
        raise ValueError("32-bit integer pixels have no known range")


def opaque(image: Image.Image) -> Image.Image:
    """The image in mode L if it is gray, else in RGB, with white in place of transparency."""
    if image.mode.startswith("I"):  # 16 bits, which Pillow also hands out as 32
        scaled = np.asarray(image).astype(np.float64).clip(0, 65535) / 257
        return Image.fromarray(scaled.round().astype(np.uint8))
    mode = "L" if image.mode in {"1", "L", "LA"} else "RGB"
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert(mode)


def fitted(image: Image.Image, size: int, fit: Fit = "crop") -> np.ndarray:
    """The centre square of an L or RGB image, or the whole image, as uint8 C x size x size."""
    resize = ImageOps.fit if fit == "crop" else Image.Image.resize
    pixels = np.array(resize(image, (size, size), Image.Resampling.BILINEAR))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy()


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


def in_threads(work: Callable[[int], int], count: int) -> Generator[int]:
    """The results of `work` for 0 to `count` - 1, in order; a caller that leaves waits for started calls.

    A separate thread runs the pool: if a signal interrupts the main thread inside ThreadPoolExecutor, a lock
    stays held and the pool never ends. Reading a SimpleQueue can be interrupted anywhere.
    """
    results: SimpleQueue[Future[int] | None] = SimpleQueue()
    left = False

    def unless_left(index: int) -> int:
        return 0 if left else work(index)

    def run() -> None:
        try:
            with ThreadPoolExecutor() as pool:
                for future in [pool.submit(unless_left, index) for index in range(count)]:
                    wait([future])
                    results.put(future)
        finally:
            results.put(None)

    pooling = Thread(target=run, daemon=True)
    try:
        pooling.start()
        for _ in range(count):
            future = results.get()
            if future is None:
                raise DataError("no thread can be started; the system's limit of processes is reached")
            yield future.result()
    finally:
        left = True
        if pooling.is_alive():
            pooling.join()


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
