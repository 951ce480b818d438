"""What an exported student says of image files: a batch of them in memory, rows written as they come.

Loads no torch.
"""

import re
import stat
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from scipy.special import softmax

from kdsearch.config import Record
from kdsearch.data.pixels import CorruptImageError, pixels_of
from kdsearch.data.threads import in_threads
from kdsearch.data.walk import ancestors, images_below, told
from kdsearch.deliver.columns import Columns, check_ids, rows_to, written_at_once
from kdsearch.deliver.described import Described, Preprocessing
from kdsearch.deliver.onnx_runtime import Answer
from kdsearch.errors import DataError, ExportError, UsageError
from kdsearch.files import check_out
from kdsearch.progress import Progress

BATCH = 128  # images in memory at once


class Prediction(NamedTuple):
    """The classes' probabilities for one file, float64; None if it could not be read, with the reason."""

    file: Path
    shares: np.ndarray | None
    fault: str = ""


class Predicted(Record):
    """What `kdsearch predict` did."""

    study: str
    trial: int
    out: Path | None  # None: a stream
    images: int  # with a row, the unreadable ones too
    unreadable: int
    mirrored: bool


class Student(NamedTuple):
    """An export that answers."""

    described: Described
    answer: Answer

    def check(self, folder: Path) -> None:
        """Raises UsageError if the network does not take what `config.json` says, or has other classes."""
        size, classes = self.described.input.size, len(self.described.classes)
        try:
            logits = self.answer(np.zeros((1, 3, size, size), np.float32))
        except (ExportError, MemoryError, RuntimeError, ValueError) as error:  # each library has its own
            reason = " ".join(str(error).split())
            raise UsageError(
                f"{folder}: no answer for an image of {size} pixels ({reason}); export again"
            ) from error
        if logits.shape != (1, classes):
            raise UsageError(
                f"{folder}: the network has {logits.shape[-1]} classes, config.json {classes}; export again"
            )


def predict(
    student: Student,
    images: Path,
    out: Path | TextIO,
    progress: Progress,
    *,
    columns: Columns,
    mirrored: bool,
    force: bool,
) -> Predicted:
    """Writes a row an image to `out`. Raises UsageError or DataError before anything is predicted."""
    classes = student.described.classes
    columns.check(classes)
    if isinstance(out, Path):
        out = check_out(out, "--out", force=force, make_folder=True)
    files, root = find_images(images, progress)
    check_ids(files, root, columns)
    unreadable = 0
    with written_at_once(out) if isinstance(out, Path) else nullcontext(out) as stream:
        write = rows_to(stream, columns, classes, mirrored=mirrored)
        for index, each in enumerate(predictions(student, files, progress, mirrored=mirrored)):
            if each.shares is None:
                unreadable += 1
                progress.say(each.fault)
            write(index, each.file.relative_to(root), each.shares)
        stream.flush()
    return Predicted(
        study=student.described.study,
        trial=student.described.trial,
        out=out if isinstance(out, Path) else None,
        images=len(files),
        unreadable=unreadable,
        mirrored=mirrored,
    )


def find_images(images: Path, progress: Progress) -> tuple[list[Path], Path]:
    """The file, or all images in the folder and below it in natural order; and the folder.

    Raises DataError if there are none, or they may not be read.
    """
    try:
        is_file = not stat.S_ISDIR(images.stat().st_mode)
    except OSError as error:
        raise DataError(f"{images}: cannot be read ({error.strerror})") from None
    if is_file:
        return [images], images.parent
    found = images_below(images, ancestors(*images.resolve().parents))
    if found.passed:
        progress.say(f"left out: {', '.join(told(found.passed, images))}")
    if not found.images:
        raise DataError(f"{images}: no images in this folder or below it")
    return sorted(found.images, key=natural), images


def natural(path: Path) -> list[list[Any]]:
    """A key by which 2.jpg comes before 10.jpg, in each folder of the path."""
    return [
        [int(piece) if piece.isdecimal() else piece for piece in re.split(r"(\d+)", part)]
        for part in path.parts
    ]


def predictions(
    student: Student, files: Sequence[Path], progress: Progress, *, mirrored: bool = False
) -> Iterator[Prediction]:
    """The files' predictions in their order; `mirrored`: the mean of those of image and mirror image."""
    for start in range(0, len(files), BATCH):
        batch = files[start : start + BATCH]
        images, faults = read(batch, student.described.input)
        shares = shares_of(student, images)
        if mirrored:
            shares = (shares + shares_of(student, np.ascontiguousarray(images[..., ::-1]))) / 2
        for index, file in enumerate(batch):
            fault = faults.get(index, "")
            yield Prediction(file, None if fault else shares[index], fault)
        progress.step("predict", start + len(batch), len(files))


def read(files: Sequence[Path], wanted: Preprocessing) -> tuple[np.ndarray, dict[int, str]]:
    """The network's input, with zeros for each file that cannot be read, and by its index the reason."""
    pixels = np.zeros((len(files), 3, wanted.size, wanted.size), np.uint8)
    faults: dict[int, str] = {}

    def into_place(index: int) -> int:
        try:
            pixels[index] = pixels_of(files[index], wanted.size, wanted.fit)
        except (CorruptImageError, DataError) as error:
            faults[index] = str(error)
        return index

    with warnings.catch_warnings(), closing(in_threads(into_place, len(files))) as done:
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata in images that it reads well
        list(done)
    return pixels.astype(np.float32) / 255, faults


def shares_of(student: Student, images: np.ndarray) -> np.ndarray:
    """The classes' probabilities, float64 N x C."""
    shares: np.ndarray = softmax(student.answer(images).astype(np.float64), axis=1)
    return shares
