"""MNIST and the sets in its format: four gzipped IDX files."""

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import MNIST

from kdsearch.data.download import Archive, located
from kdsearch.data.image_set import ImageSet
from kdsearch.data.source import Parts, Source
from kdsearch.progress import Progress


class IdxSet(Source):
    """MNIST, FashionMNIST or KMNIST: 28 x 28 gray, with a test split, without a validation split."""

    def __init__(self, dataset: type[MNIST], folder: Path | None) -> None:
        self.dataset = dataset
        self.folder = folder
        self.archives = [
            Archive(dataset.__name__, name, md5, tuple(f"{mirror}{name}" for mirror in dataset.mirrors))
            for name, md5 in dataset.resources  # images and labels for training, then for test
        ]

    def identity(self) -> object:
        """The checksums of the published files."""
        return [archive.md5 for archive in self.archives]

    def search(self, progress: Progress) -> Parts:
        """The published training images."""
        return Parts(self.read(self.archives[:2], progress), None)

    def test(self, progress: Progress) -> ImageSet:
        """The published test images."""
        return self.read(self.archives[2:], progress)

    def read(self, archives: list[Archive], progress: Progress) -> ImageSet:
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
