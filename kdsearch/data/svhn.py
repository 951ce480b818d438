"""Street View House Numbers, read by torchvision from MATLAB files."""

from pathlib import Path

import torch
from torchvision.datasets import SVHN

from kdsearch.data.download import Archive, located
from kdsearch.data.image_set import ImageSet
from kdsearch.data.source import Parts, Source
from kdsearch.progress import Progress


class SvhnSet(Source):
    """32 x 32 colour, classes 0 to 9, with a test split, without a validation split; `extra` is not used."""

    def __init__(self, dataset: type[SVHN], folder: Path | None) -> None:
        self.dataset = dataset
        self.folder = folder
        self.archives = {
            split: Archive(dataset.__name__, name, md5, (url,))
            for split, (url, name, md5) in dataset.split_list.items()
        }

    def identity(self) -> object:
        """The checksum of the published training file."""
        return self.archives["train"].md5

    def search(self, progress: Progress) -> Parts:
        """The published training images."""
        return Parts(self.read("train", progress), None)

    def test(self, progress: Progress) -> ImageSet:
        """The published test images."""
        return self.read("test", progress)

    def read(self, split: str, progress: Progress) -> ImageSet:
        """One split."""
        path = located(self.archives[split], self.folder, progress)
        opened = self.dataset(path.parent, split=split)
        images, labels = torch.from_numpy(opened.data.copy()), torch.from_numpy(opened.labels.copy())
        return ImageSet(images, labels.long(), tuple(str(digit) for digit in range(10)))
