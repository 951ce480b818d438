"""The one way in which an image file becomes pixels: for search, validation, export and prediction.

Loads no torch.
"""

import errno
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from kdsearch.data.walk import FORMATS
from kdsearch.errors import DataError, KdsearchError
from kdsearch.files import open_regular
from kdsearch.tables import Fit

BITS_PER_SAMPLE = 258  # TIFF's tag
LEADS_NOWHERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
NO_SYSTEM_ERROR = {None, errno.EINVAL}  # the latter from a seek to an offset that a damaged file gives


class CorruptImageError(KdsearchError):
    """The file is no image, or a damaged one."""

    exit_code = 2


def pixels_of(file: Path | BinaryIO, size: int, fit: Fit = "crop") -> np.ndarray:
    """The image as uint8 C x size x size; C is 1 for gray files, else 3.

    It is rotated as its EXIF data say, transparency becomes white, 16 bits are scaled to 8; the result is the
    centre square, or the whole image as `fit` says, resized with antialiasing (bilinear). Raises
    CorruptImageError, also for a link that leads nowhere; DataError if the system refuses to read the file,
    or has no memory for it.
    """
    if not isinstance(file, Path):
        return pixels_of_open(file, size, getattr(file, "name", "image"), fit)
    try:
        with open_regular(file) as opened:
            return pixels_of_open(opened, size, str(file), fit)
    except OSError as error:
        if file.is_symlink() and error.errno in LEADS_NOWHERE:
            raise CorruptImageError(f"{file}: a link that leads nowhere") from None
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error


def pixels_of_open(file: BinaryIO, size: int, name: str, fit: Fit) -> np.ndarray:
    """Decodes an open file as `pixels_of` does; errors call it `name`."""
    try:
        with Image.open(file, formats=tuple(FORMATS)) as opened:
            opened.draft(None, (2 * size, 2 * size))  # a large JPEG need not be decoded in full
            check_range(opened)
            return fitted(opaque(ImageOps.exif_transpose(opened)), size, fit)
    except MemoryError:
        raise DataError(f"{name}: too little memory for an image of its size; remove it") from None
    except UnidentifiedImageError:
        reason = f"it is none of {', '.join(FORMATS)}"
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in NO_SYSTEM_ERROR:
            raise
        reason = str(error) or type(error).__name__
    raise CorruptImageError(f"{name}: not a readable image ({reason})")


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
