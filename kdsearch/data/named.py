"""Data sets that have a name: scikit-learn's digits and torchvision's small images."""

import gzip
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100, KMNIST, MNIST, SVHN, FashionMNIST

from kdsearch.cache import entry, locked, making, sound
from kdsearch.data.download import Archive, located
from kdsearch.data.image_set import ImageSet, Parts, Source
from kdsearch.data.split import draw
from kdsearch.errors import DataError
from kdsearch.progress import Progress

DIGITS_TEST = 360  # a fifth of the 1,797


class IdxSet(Source):
    """MNIST, FashionMNIST or KMNIST: 28 x 28 gray, with a test split, without a validation split."""

    def __init__(self, dataset: type[MNIST], folder: Path | None) -> None:
        self.dataset = dataset
        self.folder = folder
        self.archives = tuple(
            Archive(dataset.__name__, name, md5, tuple(f"{mirror}{name}" for mirror in dataset.mirrors))
            for name, md5 in dataset.resources  # images and labels for training, then for test
        )

    def identity(self) -> object:
        return [archive.md5 for archive in self.archives]

    def search(self, progress: Progress) -> Parts:
        return Parts(self.read(self.archives[:2], progress), None)

    def test(self, progress: Progress) -> ImageSet:
        return self.read(self.archives[2:], progress)

    def read(self, archives: tuple[Archive, ...], progress: Progress) -> ImageSet:
        """The image set in an image file and a label file."""
        images, labels = (read_idx(located(archive, self.folder, progress)) for archive in archives)
        return ImageSet(images[:, None], labels.long(), tuple(self.dataset.classes))


def read_idx(path: Path) -> Tensor:
    """The uint8 array in a gzipped IDX file.

    Two zero bytes, the type (8: unsigned bytes), the number of dimensions, each dimension as a big-endian
    32-bit integer, then the values with the last index fastest (the format's own page, LeCun 1998).
    """
    content = gzip.decompress(path.read_bytes())
    assert content[:3] == b"\x00\x00\x08", f"{path} passed its checksum but is no IDX file of bytes"
    dimensions = np.frombuffer(content, ">i4", content[3], 4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * content[3])
    return torch.from_numpy(values.reshape(dimensions).copy())


class CifarSet(Source):
    """32 x 32 colour, with a test split, without a validation split; found unpacked, packed, or downloaded.

    Before it reads a split, torchvision compares the checksums of all files, those of the test split too.
    """

    def __init__(self, dataset: type[CIFAR10], folder: Path | None) -> None:
        self.dataset = dataset
        self.folder = folder
        self.archive = Archive(dataset.__name__, dataset.filename, dataset.tgz_md5, (dataset.url,))
        self.archives = (self.archive,)

    def identity(self) -> object:
        return self.archive.md5

    def search(self, progress: Progress) -> Parts:
        return Parts(self.read(progress, train=True), None)

    def test(self, progress: Progress) -> ImageSet:
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


class SvhnSet(Source):
    """32 x 32 colour, classes 0 to 9, with a test split, without a validation split; `extra` is not used."""

    def __init__(self, dataset: type[SVHN], folder: Path | None) -> None:
        self.dataset = dataset
        self.folder = folder
        self.by_split = {
            split: Archive(dataset.__name__, name, md5, (url,))
            for split, (url, name, md5) in dataset.split_list.items()
        }
        self.archives = tuple(self.by_split.values())

    def identity(self) -> object:
        return self.by_split["train"].md5

    def search(self, progress: Progress) -> Parts:
        return Parts(self.read("train", progress), None)

    def test(self, progress: Progress) -> ImageSet:
        return self.read("test", progress)

    def read(self, split: str, progress: Progress) -> ImageSet:
        path = located(self.by_split[split], self.folder, progress)
        opened = self.dataset(path.parent, split=split)
        images, labels = torch.from_numpy(opened.data.copy()), torch.from_numpy(opened.labels.copy())
        return ImageSet(images, labels.long(), tuple(str(digit) for digit in range(10)))


class Digits(Source):
    """1,797 scanned digits, 8 x 8 gray, that come with scikit-learn; values 0..16 become 0..255.

    They have no test split of their own, so a seeded stratified fifth is set aside; no two are identical.
    """

    def __init__(self, folder: Path | None, seed: int) -> None:
        if folder is not None:
            raise DataError(
                f"--data {folder}: digits come with scikit-learn and need no folder; leave it out"
            )
        self.seed = seed

    def identity(self) -> object:
        return ["digits", self.seed]

    def search(self, progress: Progress) -> Parts:
        return Parts(self.part(1), None)

    def test(self, progress: Progress) -> ImageSet:
        return self.part(0)

    def part(self, index: int) -> ImageSet:
        """The test images for 0, all others for 1."""
        from sklearn.datasets import load_digits  # noqa: PLC0415  no other set waits a second for it

        bundle = load_digits()
        labels = torch.from_numpy(bundle.target).long()
        pixels: Tensor = torch.from_numpy(bundle.images).mul(255 / 16).round().to(torch.uint8)
        everything = ImageSet(pixels[:, None], labels, tuple(str(name) for name in bundle.target_names))
        return everything.select(draw(labels, DIGITS_TEST, self.seed)[index])


NAMED: dict[str, Callable[[Path | None, int], Source]] = {  # no seed changes a published split
    "digits": Digits,
    "MNIST": lambda folder, _: IdxSet(MNIST, folder),
    "FashionMNIST": lambda folder, _: IdxSet(FashionMNIST, folder),
    "KMNIST": lambda folder, _: IdxSet(KMNIST, folder),
    "CIFAR10": lambda folder, _: CifarSet(CIFAR10, folder),
    "CIFAR100": lambda folder, _: CifarSet(CIFAR100, folder),
    "SVHN": lambda folder, _: SvhnSet(SVHN, folder),
}
