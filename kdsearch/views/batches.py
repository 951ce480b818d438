"""The batches of an epoch, in an order that all trials of a study share."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from kdsearch.outputs import Outputs
from kdsearch.views.bank import View, ViewBank


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
    """The indices of one epoch's batches, all of one size: every other size costs a set of compiled kernels.

    Fewer than `steps` images, the last of the epoch's order, sit it out.
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, "order", epoch))
    size = images // steps
    return torch.split(torch.randperm(images, generator=generator)[: size * steps], size)


class ViewBatches:
    """Epoch e reads view e mod V of the bank, waiting for it where it is still being made.

    Several `teachers` answer as one: with the mean of their logits, and their embeddings side by side. Of the
    outputs only those that `reads` names are read from the disk; the others are empty. Hints are not stored:
    `live` answers with them, from the view's pixels.
    """

    def __init__(
        self,
        bank: ViewBank,
        labels: Tensor,
        batch_size: int,
        seed: int,
        *,
        teachers: Sequence[str],
        reads: Collection[str],
        wait: Callable[[int], None],
        live: Callable[[Tensor], Outputs] | None = None,
    ) -> None:
        self.bank, self.labels, self.seed, self.wait = bank, labels, seed, wait
        self.teachers, self.reads, self.live = teachers, reads, live
        self.steps = -(-len(labels) // batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from number `start` on, on the labels' device."""
        number = epoch % self.bank.count
        self.wait(number)
        view = self.bank.view(number)
        device = self.labels.device
        for rows in shuffled(len(self.labels), self.steps, self.seed, epoch)[start:]:
            images = view.images[rows].to(device)
            hints = self.live(images).hints if self.live else {}
            logits = torch.stack(self._answers(view, "logits", rows) or [torch.empty(0)]).mean(0)
            embedding = torch.cat(self._answers(view, "embedding", rows) or [torch.empty(0)], dim=-1)
            teacher = Outputs(logits, embedding, hints)
            yield Batch(images, self.labels[rows.to(device)], teacher)

    def _answers(self, view: View, field: str, rows: Tensor) -> list[Tensor]:
        """Each teacher's to these images, float32; none where no loss reads them."""
        names = self.teachers if field in self.reads else ()
        stored = (getattr(view.answers[name], field) for name in names)
        return [answer[rows].to(self.labels.device).float() for answer in stored]
