"""The view bank on disk, as those see it who train: memory-mapped, read only."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from kdsearch.config import Record
from kdsearch.outputs import Shapes


class View(NamedTuple):
    """One augmented copy of the training set of N images, and the teacher's answers to it."""

    images: Tensor  # uint8, N x C x H x W
    logits: Tensor  # float16, N x K
    embedding: Tensor  # float16, N x D


class ViewBank(Record):
    """Where the views of a study lie, how many they are to be, and the teacher's shapes."""

    folder: Path
    count: int
    classes: int
    embedding: int
    hints: dict[str, tuple[int, ...]] = Field(default_factory=dict)  # not stored: the teacher answers anew

    @property
    def shapes(self) -> Shapes:
        """The teacher's, which losses see."""
        return Shapes(self.classes, self.embedding, self.hints)

    def path(self, number: int) -> Path:
        """The folder of view `number`, which exists exactly when the view is whole."""
        return self.folder / f"view-{number:04d}"

    def exists(self, number: int) -> bool:
        """Whether view `number` has been made."""
        return self.path(number).exists()

    def view(self, number: int) -> View:
        """View `number`, which must exist."""
        return open_view(self.path(number))


@lru_cache(maxsize=64)
def open_view(path: Path) -> View:
    """Maps a view's files into memory; the pages are shared by all processes that read them."""
    arrays = (np.load(path / f"{name}.npy", mmap_mode="c") for name in View._fields)
    return View(*(torch.from_numpy(array) for array in arrays))
