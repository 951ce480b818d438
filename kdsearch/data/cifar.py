"""CIFAR-10 and CIFAR-100, read by torchvision, which unpickles: only behind the published checksums."""

import tarfile
import warnings
from pathlib import Path

import numpy as np
import torch
from torchvision.datasets import CIFAR10

from kdsearch.cache import entry, locked, making, sound
from kdsearch.data.download import Archive, located
from kdsearch.data.image_set import ImageSet
from kdsearch.data.source import Parts, Source
from kdsearch.errors import DataError
from kdsearch.progress import Progress


class CifarSet(Source):
    """32 x 32 colour, with a test split, without a validation split; found unpacked, packed, or downloaded.

    Before it reads a split, torchvision compares the checksums of all files, those of the test split too.
    """

    def __init__(self, dataset: type[CIFAR10], folder: Path | None) -> None:
        self.dataset = dataset
        self.folder = folder
        self.archive = Archive(dataset.__name__, dataset.filename, dataset.tgz_md5, (dataset.url,))

    def identity(self) -> object:
        """The checksum of the published archive."""
        return self.archive.md5

    def search(self, progress: Progress) -> Parts:
        """The published training images."""
        return Parts(self.read(progress, train=True), None)

    def test(self, progress: Progress) -> ImageSet:
        """The published test images."""
        return self.read(progress, train=False)

    def read(self, progress: Progress, *, train: bool) -> ImageSet:
        """One split. Raises DataError if a file is missing or not the published one."""
        root = self.root(progress)
        try:
            with warnings.catch_warnings():  # the pickles are older than NumPy 2.4 likes (vision#9340)
                warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
                opened = self.dataset(root, train=train)
        except OSError as error:
            raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from None
        except RuntimeError as error:
            raise DataError(
                f"{root / self.dataset.base_folder}: incomplete, or not the published files of "
                f"{self.archive.data_set}; put {self.archive.filename} there instead"
            ) from error
        images = torch.from_numpy(opened.data.transpose(0, 3, 1, 2).copy())
        return ImageSet(images, torch.tensor(opened.targets, dtype=torch.int64), tuple(opened.classes))

    def root(self, progress: Progress) -> Path:
        """The folder that contains the unpacked folder, which has its published name."""
        if self.folder is not None:
            for place in (self.folder, self.folder / self.archive.data_set, self.folder.absolute().parent):
                if (place / self.dataset.base_folder).is_dir():
                    return place
        packed = located(self.archive, self.folder, progress)
        unpacked = entry("unpacked", self.archive.md5)
        with locked(unpacked):
            if not sound(unpacked, progress.say):
                with making(unpacked, 2 * packed.stat().st_size) as temporary, tarfile.open(packed) as tar:
                    tar.extractall(temporary, filter="data")
        return unpacked
