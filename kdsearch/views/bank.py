"""The view bank on disk, as those see it who train: memory-mapped, read only."""

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


class Answers(NamedTuple):
    """What one teacher says of the N images of a view."""

    logits: Tensor  # float16, or float32 where a number is too large for that, N x K
    embedding: Tensor  # likewise, N x D


class View(NamedTuple):
    """One augmented copy of the training set of N images, and the answers to it by the teachers' names."""

    images: Tensor  # uint8, N x C x H x W
    answers: dict[str, Answers]

    @property
    def nbytes(self) -> int:
        """The size of pixels and answers."""
        answers = (field for stored in self.answers.values() for field in stored)
        return self.images.nbytes + sum(field.nbytes for field in answers)


class Answering(Record):
    """The sizes of one teacher's answers, besides the number of classes."""

    embedding: int
    hints: dict[str, tuple[int, ...]] = Field(default_factory=dict)  # not stored: the teacher answers anew


class ViewBank(Record):
    """Where the views of a study lie, how many they are to be, and its teachers by name."""

    folder: Path
    count: int
    classes: int
    teachers: dict[str, Answering]

    def shapes(self, names: Sequence[str]) -> Shapes:
        """Of these teachers' common answer, which losses see: an average has no hints."""
        found = [self.teachers[name] for name in names]
        hints = found[0].hints if len(found) == 1 else {}
        return Shapes(self.classes, sum(each.embedding for each in found), hints)

    def path(self, number: int) -> Path:
        """The folder of view `number`, which exists exactly when the view is whole."""
        return self.folder / f"view-{number:04d}"

    def exists(self, number: int) -> bool:
        """Whether view `number` has been made."""
        return self.path(number).exists()

    def is_left(self, number: int) -> bool:
        """Whether a process makes or proves a later view than `number` just now: it is done with this one."""
        return any(in_making(self.path(later)) for later in range(number + 1, self.count))

    def view(self, number: int) -> View:
        """View `number`, proved once a process. Raises CacheDamagedError where it is not there or damaged."""
        return open_view(self.path(number), tuple(self.teachers))

    def read_ahead(self, number: int, rows: slice) -> None:
        """Has the system read the pixels of these rows in order, before they are asked for in another one."""
        if not hasattr(os, "posix_fadvise"):
            return
        with suppress(OSError), (self.path(number) / "images.npy").open("rb") as file:
            # Removed meanwhile it is no error: what is mapped stays whole.
            os.posix_fadvise(file.fileno(), *self.extent(number, rows), os.POSIX_FADV_WILLNEED)

    def extent(self, number: int, rows: slice) -> tuple[int, int]:
        """Where the pixels of these rows begin in the view's file, and how long they are, in bytes."""
        images, path = self.view(number).images, self.path(number) / "images.npy"
        first, last, _ = rows.indices(len(images))
        each = images.nbytes // len(images)
        return path.stat().st_size - images.nbytes + first * each, (last - first) * each


@cache
def open_view(path: Path, teachers: tuple[str, ...]) -> View:
    """Proves a view and maps its files into memory; the pages are shared by all processes that read them.

    Raises CacheDamagedError.
    """
    check(path, wholly=True)
    columns = {name: [mapped(path / f"{name}.{field}.npy") for field in Answers._fields] for name in teachers}
    answers = {name: Answers(*tensors) for name, tensors in columns.items()}
    return View(mapped(path / "images.npy"), answers)
