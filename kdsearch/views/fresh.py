"""Batches with a new augmentation in each epoch, for teachers, which train without a view bank."""

from collections.abc import Iterator

from torch import Tensor

from kdsearch.device import moved
from kdsearch.views.augment import Augmentation
from kdsearch.views.batches import Batch, derived_seed, shuffled, steps_of


class FreshBatches:
    """Augmented training images without a teacher's outputs, on the labels' device.

    The images may be on the CPU if that device has no room for them.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, augment: Augmentation, batch_size: int, seed: int
    ) -> None:
        self.images, self.labels, self.augment, self.seed = images, labels, augment, seed
        self.steps = steps_of(len(labels), batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from number `start` on."""
        order = shuffled(len(self.labels), self.steps, self.seed, epoch)
        for step, rows in list(enumerate(order))[start:]:
            here = moved(rows, self.labels.device)
            there = here if self.images.device == here.device else rows
            images = moved(self.images.index_select(0, there), here.device)
            images = self.augment(images, derived_seed(self.seed, "fresh", epoch, step))
            yield Batch(images, self.labels[here], None)
