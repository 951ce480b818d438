"""All images of one split in memory, the two that a search may see, and the interface of their sources."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from kdsearch.cache import check, digest, hold, making
from kdsearch.data.download import Archive
from kdsearch.data.scratch import blank, mapped, picked
from kdsearch.errors import CacheDamagedError
from kdsearch.progress import Progress

Triple = tuple[float, float, float]

VERSION = 1  # part of the cache's key: raise it when the files of an entry change
WINDOW = 2**16  # images of a larger set that are shuffled together


class Known(NamedTuple):
    """Facts about a set that are computed from all its images."""

    fingerprint: str
    mean_std: tuple[Triple, Triple]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """uint8 images N x C x H x W in native channels (C is 1 or 3), int64 labels N, and the class names.

    `source` is the same pictures at a larger size, if they have one: from it training crops are cut.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    known: Known | None = None  # of a set that was opened from disk, so that it need not be read again
    source: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_size(self) -> int:
        """Pixels a side of what a student sees."""
        return self.images.shape[-1]

    @property
    def pixels(self) -> Tensor:
        """The largest pictures that there are, uint8 N x C x S x S: what an Augmentation cuts from."""
        return self.images if self.source is None else self.source

    @property
    def nbytes(self) -> int:
        source = 0 if self.source is None else self.source.nbytes
        return self.images.nbytes + self.labels.nbytes + source

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over shape, pixels, labels, class names and source: 64 hex digits."""
        if self.known:
            return self.known.fingerprint
        content = hashlib.sha256(json.dumps([list(self.images.shape), self.classes]).encode())
        content.update(self.images.contiguous().numpy().data)
        content.update(self.labels.contiguous().numpy().data)
        if self.source is not None:
            content.update(json.dumps(list(self.source.shape)).encode())
            content.update(self.source.contiguous().numpy().data)
        return content.hexdigest()

    def mean_std(self) -> tuple[Triple, Triple]:
        """Mean and standard deviation of each channel, scaled to 0..1; a gray channel's stand three times.

        Exact: computed from a histogram of the 256 values. A constant channel gets the deviation 1/255, so
        that one can divide by it.
        """
        if self.known:
            return self.known.mean_std
        values = torch.arange(256, dtype=torch.float64) / 255
        moments = []
        for channel in range(self.images.shape[1]):
            chunks = self.images[:, channel].chunk(1 + len(self) // 4096)
            counts = torch.stack([torch.bincount(chunk.flatten(), minlength=256) for chunk in chunks]).sum(0)
            mean = float((counts * values).sum() / counts.sum())
            variance = float((counts * (values - mean) ** 2).sum() / counts.sum())
            moments.append((mean, max(variance**0.5, 1 / 255)))
        red, green, blue = moments if len(moments) == 3 else moments * 3
        return (red[0], green[0], blue[0]), (red[1], green[1], blue[1])

    def select(self, indices: Tensor) -> Self:
        """The images with these indices, in this order."""
        source = None if self.source is None else picked(self.source, indices)
        images = picked(self.images, indices)
        return type(self)(images, self.labels[indices], self.classes, source=source)

    def save(self, folder: Path) -> None:
        """Writes images, labels, facts and, if there is one, the source as files into a new folder.

        Raises OSError when the disk is full.
        """
        folder.mkdir(parents=True)
        blank(folder / "images.npy", tuple(self.images.shape), np.uint8).copy_(self.images)
        blank(folder / "labels.npy", tuple(self.labels.shape), np.int64).copy_(self.labels)
        if self.source is not None:
            blank(folder / "source.npy", tuple(self.source.shape), np.uint8).copy_(self.source)
        meta = {"classes": self.classes, "fingerprint": self.fingerprint, "mean_std": self.mean_std()}
        (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The set that `save` wrote, with its pixels memory-mapped. Raises CacheDamagedError."""
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        images, labels = mapped(folder / "images.npy"), mapped(folder / "labels.npy").clone()
        if images.dtype != torch.uint8 or images.ndim != 4 or len(images) != len(labels):
            raise CacheDamagedError(f"{folder / 'images.npy'}: damaged (no images of these labels)")
        source = mapped(folder / "source.npy") if (folder / "source.npy").exists() else None
        mean, std = map(tuple, meta["mean_std"])
        return cls(images, labels, tuple(meta["classes"]), Known(meta["fingerprint"], (mean, std)), source)


class SearchSets(NamedTuple):
    """The two image sets of a search, and the folder of the cache from which any process may open them."""

    train: ImageSet
    validation: ImageSet
    note: str | None  # what the user should know about them
    skipped: int  # corrupt images left out
    folder: Path

    @property
    def fingerprint(self) -> str:
        """A hash of the content of both sets: 20 hex digits."""
        return digest(self.train.fingerprint, self.validation.fingerprint)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Opens what `make` wrote; compares sizes, labels and facts. Only `cache.sound` compares pixels.

        Raises CacheDamagedError.
        """
        check(folder, wholly=False)
        hold(folder)
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        train, validation = (ImageSet.open(folder / part) for part in ("train", "validation"))
        return cls(train, validation, meta["note"], meta["skipped"], folder)

    @classmethod
    def make(cls, folder: Path, train: ImageSet, validation: ImageSet, note: str, skipped: int) -> Self:
        """Writes the cache entry `folder`, at once or not at all, and opens it."""
        with making(folder, train.nbytes + validation.nbytes + 2**20) as temporary:
            train.save(temporary / "train")
            validation.save(temporary / "validation")
            meta = {"note": note or None, "skipped": skipped}
            (temporary / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        return cls.open(folder)


class Parts(NamedTuple):
    """A source's training split and, if it has one, its validation split."""

    train: ImageSet
    validation: ImageSet | None
    skipped: int = 0  # corrupt images
    note: str = ""


class Source(Protocol):
    """A source of images; it reads only names until a split is requested."""

    archives: tuple[Archive, ...] = ()  # the published files that it reads, those of the test split too

    def identity(self) -> object:
        """A JSON-able value that changes with the images, computed without opening them."""

    def search(self, progress: Progress) -> Parts:
        """The splits that a search may see; never opens a test image."""

    def test(self, progress: Progress) -> ImageSet:
        """The test split. Raises DataError if there is none, or none with labels."""

    def left_out(self) -> list[str]:
        """Files that the user may take for images but the search does not read, judged by their names."""
        return []
