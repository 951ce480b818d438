"""The view bank on disk, memory-mapped and read only, for training processes."""

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydantic import Field
from torch import Tensor

from kdsearch.cache import check, in_making
from kdsearch.config import Record
from kdsearch.data.scratch import mapped
from kdsearch.outputs import Shapes
from kdsearch.views.mixing import Mix


class Answers(NamedTuple):
    """One teacher's outputs for the N images of a view."""

    logits: Tensor  # float16, or float32 if a number is too large for that, N x K
    embedding: Tensor  # likewise, N x D


class View(NamedTuple):
    """One augmented copy of the training set of N images, with each teacher's outputs by its name."""

    images: Tensor  # uint8, N x C x H x W
    answers: dict[str, Answers]
    mix: Mix | None = None  # of a view whose images are mixed

    @property
    def nbytes(self) -> int:
        stored = [
            self.images,
            *(self.mix or ()),
            *(field for each in self.answers.values() for field in each),
        ]
        return sum(field.nbytes for field in stored)


class Answering(Record):
    """The sizes of one teacher's outputs, besides the number of classes, and of the images that it sees."""

    embedding: int
    image_size: int | None = None  # pixels a side; none: the view's
    bfloat16: bool = False  # whether it answers so on a CPU
    hints: dict[str, tuple[int, ...]] = Field(default_factory=dict)  # not stored: the teacher answers anew


class ViewBank(Record):
    """The folder of a study's views, their number, and its teachers by name."""

    folder: Path
    count: int
    classes: int
    teachers: dict[str, Answering]

    def shapes(self, names: Sequence[str]) -> Shapes:
        """The sizes of these teachers' common output, which losses see: an average has no hints."""
        sizes = [self.teachers[name] for name in names]
        hints = sizes[0].hints if len(sizes) == 1 else {}
        return Shapes(self.classes, sum(each.embedding for each in sizes), hints)

    def path(self, number: int) -> Path:
        """The folder of view `number`, which exists exactly when the view is whole."""
        return self.folder / f"view-{number:04d}"

    def exists(self, number: int) -> bool:
        return self.path(number).exists()

    def is_left(self, number: int) -> bool:
        """Whether a process makes or checks a later view now, and so is done with view `number`."""
        return any(in_making(self.path(later)) for later in range(number + 1, self.count))

    def view(self, number: int) -> View:
        """View `number`, proved once a process. Raises CacheDamagedError if it is not there or damaged."""
        return open_view(self.path(number), tuple(self.teachers))

    def read_ahead(self, number: int, rows: slice) -> None:
        """Makes the system read the pixels of these rows in order, before batches read them otherwise."""
        if not hasattr(os, "posix_fadvise"):
            return
        with suppress(OSError), (self.path(number) / "images.npy").open("rb") as file:
            # If somebody removed it meanwhile, that is no error: a mapped file stays whole.
            os.posix_fadvise(file.fileno(), *self.extent(number, rows), os.POSIX_FADV_WILLNEED)

    def extent(self, number: int, rows: slice) -> tuple[int, int]:
        """The offset and the length of these rows' pixels in the view's file, in bytes."""
        images, path = self.view(number).images, self.path(number) / "images.npy"
        first, last, _ = rows.indices(len(images))
        each = images.nbytes // len(images)
        return path.stat().st_size - images.nbytes + first * each, (last - first) * each


@cache
def open_view(path: Path, teachers: tuple[str, ...]) -> View:
    """Compares a view with its checksums and maps its files into memory, which all processes share.

    Raises CacheDamagedError.
    """
    check(path, wholly=True)
    columns = {name: [mapped(path / f"{name}.{field}.npy") for field in Answers._fields] for name in teachers}
    answers = {name: Answers(*tensors) for name, tensors in columns.items()}
    mix = Mix(*(mapped(path / f"{field}.npy") for field in Mix._fields)) if is_mixed(path) else None
    return View(mapped(path / "images.npy"), answers, mix)


def is_mixed(path: Path) -> bool:
    return (path / f"{Mix._fields[0]}.npy").exists()
