"""Data sets that have a name: scikit-learn's digits and torchvision's small images."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100, KMNIST, MNIST, SVHN, FashionMNIST

from kdsearch.data.cifar import CifarSet
from kdsearch.data.idx import IdxSet
from kdsearch.data.image_set import ImageSet
from kdsearch.data.source import Parts, Source
from kdsearch.data.split import draw
from kdsearch.data.svhn import SvhnSet
from kdsearch.errors import DataError
from kdsearch.progress import Progress

DIGITS_TEST = 360  # a fifth of the 1,797


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
        """Names the content."""
        return ["digits", self.seed]

    def search(self, progress: Progress) -> Parts:
        """All but the test split."""
        return Parts(self.part(1), None)

    def test(self, progress: Progress) -> ImageSet:
        """The test split."""
        return self.part(0)

    def part(self, index: int) -> ImageSet:
        """The test split for 0, the others for 1."""
        from sklearn.datasets import load_digits  # noqa: PLC0415  no other set waits a second for it

        bundle = load_digits()
        labels = torch.from_numpy(bundle.target).long()
        pixels: Tensor = torch.from_numpy(bundle.images).mul(255 / 16).round().to(torch.uint8)
        everything = ImageSet(pixels[:, None], labels, tuple(str(name) for name in bundle.target_names))
        return everything.select(draw(labels, DIGITS_TEST, self.seed)[index])


D = TypeVar("D")
Maker = Callable[[Path | None, int], Source]


def unseeded(reader: Callable[[D, Path | None], Source], dataset: D) -> Maker:
    """A data set with published splits, which no seed changes."""
    return lambda folder, seed: reader(dataset, folder)


NAMED: dict[str, Maker] = {
    "digits": Digits,
    "MNIST": unseeded(IdxSet, MNIST),
    "FashionMNIST": unseeded(IdxSet, FashionMNIST),
    "KMNIST": unseeded(IdxSet, KMNIST),
    "CIFAR10": unseeded(CifarSet, CIFAR10),
    "CIFAR100": unseeded(CifarSet, CIFAR100),
    "SVHN": unseeded(SvhnSet, SVHN),
}
