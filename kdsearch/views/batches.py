"""The batches of an epoch, in an order that all trials of a study share."""

import hashlib
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from kdsearch.outputs import Outputs
from kdsearch.views.bank import ViewBank


class Batch(NamedTuple):
    """B training images with what the teacher said of exactly these pixels."""

    images: Tensor  # uint8, B x C x H x W
    labels: Tensor  # int64, B
    teacher: Outputs | None


class Batches(Protocol):
    """Where a training gets its batches."""

    @property
    def steps(self) -> int:
        """Batches an epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from number `start` on."""


def derived_seed(*parts: object) -> int:
    """A seed of 63 bits that depends on all parts and on nothing else."""
    text = ":".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def shuffled(images: int, steps: int, seed: int, epoch: int) -> tuple[Tensor, ...]:
    """The indices of one epoch's batches, as even as can be: BatchNorm cannot use a batch of one."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "order", epoch))
    return torch.randperm(images, generator=generator).tensor_split(steps)


class ViewBatches:
    """Epoch e reads view e mod V of the bank, waiting for it where it is still being made."""

    def __init__(
        self, bank: ViewBank, labels: Tensor, batch_size: int, seed: int, wait: Callable[[int], None]
    ) -> None:
        self.bank, self.labels, self.seed, self.wait = bank, labels, seed, wait
        self.steps = -(-len(labels) // batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from number `start` on, on the labels' device."""
        number = epoch % self.bank.count
        self.wait(number)
        view = self.bank.view(number)
        device = self.labels.device
        for rows in shuffled(len(self.labels), self.steps, self.seed, epoch)[start:]:
            logits, embedding = view.logits[rows].to(device), view.embedding[rows].to(device)
            teacher = Outputs(logits.float(), embedding.float(), {})
            yield Batch(view.images[rows].to(device), self.labels[rows.to(device)], teacher)
