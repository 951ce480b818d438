"""The batches of an epoch, in an order that all trials of a study share."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from kdsearch.data.image_set import WINDOW
from kdsearch.device import has_room, moved
from kdsearch.outputs import Mixed, Outputs
from kdsearch.views.bank import Answers, View, ViewBank
from kdsearch.views.mixing import Mix, Mixing

Augment = Callable[[Tensor, int], Tensor]  # of uint8 images, with a seed


class Batch(NamedTuple):
    """B training images with the teacher's outputs for exactly these pixels."""

    images: Tensor  # uint8, B x C x H x W
    labels: Tensor  # int64, B
    teacher: Outputs | None
    mixed: Mixed | None = None


class Batches(Protocol):
    """The interface from which a training gets its batches."""

    @property
    def steps(self) -> int:
        """Batches an epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from number `start` on."""


def derived_seed(*parts: object) -> int:
    """A seed of 63 bits that depends on all parts and on nothing else."""
    text = ":".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def steps_of(images: int, batch_size: int) -> int:
    """Batches an epoch: as few as hold all images, and none with a single one, which has no batch statistics.

    So with an odd number of images and batches of two, one batch has three.
    """
    return max(1, min(-(-images // batch_size), images // 2))


def shuffled(images: int, steps: int, seed: int, epoch: int, *, window: int = WINDOW) -> tuple[Tensor, ...]:
    """The indices of one epoch's batches: each image once, in sizes that differ by at most one.

    If the images divide evenly, all have one size: every other size costs a set of compiled kernels. The
    larger batches come first. A set larger than `window` is shuffled within windows that come in random
    order, so that it is read from the disk in whole pieces.
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, "order", epoch))
    windows = torch.split(torch.arange(images), window)
    if len(windows) > 1:
        windows = tuple(windows[number] for number in torch.randperm(len(windows), generator=generator))
    order = torch.cat([window[torch.randperm(len(window), generator=generator)] for window in windows])
    size, larger = divmod(images, steps)
    return torch.split(order, [size + 1] * larger + [size] * (steps - larger))


class ViewBatches:
    """Epoch e reads view e mod V of the bank, and waits for it while it is made.

    Several `teachers` give one output: the mean of their logits, and their embeddings side by side. Only the
    outputs that `reads` names are read from the disk; the others are empty. Hints are not stored: `live`
    computes them from the view's pixels.
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
        self.steps = steps_of(len(labels), batch_size)
        self.window = WINDOW
        self.resident: bool | None = None  # whether views are copied to the GPU whole; None: not settled yet

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from number `start` on, on the labels' device."""
        number = epoch % self.bank.count
        self.wait(number)
        view, device = self._placed(self.bank.view(number)), self.labels.device
        order = shuffled(len(self.labels), self.steps, self.seed, epoch, window=self.window)
        windows: list[int] = (torch.stack([rows[0] for rows in order]) // self.window).tolist()
        last = None
        for rows, window in zip(order[start:], windows[start:], strict=True):
            if window != last:
                self.bank.read_ahead(number, slice(window * self.window, (window + 1) * self.window))
                last = window
            here = moved(rows, device)
            there = here if view.images.device == device else rows
            images = moved(view.images.index_select(0, there), device)  # whole rows; indexing copies bytes
            hints = self.live(images).hints if self.live else {}
            logits = torch.stack(self._answers(view, "logits", there) or [torch.empty(0)]).mean(0)
            embedding = torch.cat(self._answers(view, "embedding", there) or [torch.empty(0)], dim=-1)
            mixed = self._mixed(view.mix, there) if view.mix else None
            yield Batch(images, self.labels[here], Outputs(logits, embedding, hints), mixed)

    def _placed(self, view: View) -> View:
        """The view on the GPU, if that had room for the first one, else unchanged.

        All views have one size, so a training decides this once, and every epoch takes the same time.
        """
        device = self.labels.device
        if self.resident is None:
            self.resident = has_room(device, view.nbytes)
        if device.type == "cpu" or not self.resident:
            return view
        answers = {
            name: Answers(*(field.to(device) for field in stored)) for name, stored in view.answers.items()
        }
        mix = Mix(*(field.to(device) for field in view.mix)) if view.mix else None
        return View(view.images.to(device), answers, mix)

    def _mixed(self, mix: Mix, rows: Tensor) -> Mixed:
        """The labels of these images' partners, and the weights of their own."""
        partner, weight = (moved(field.index_select(0, rows), self.labels.device) for field in mix)
        return Mixed(self.labels[partner], weight)

    def _answers(self, view: View, field: str, rows: Tensor) -> list[Tensor]:
        """Each teacher's outputs for these images, float32; empty if no loss reads them."""
        names = self.teachers if field in self.reads else ()
        stored = (getattr(view.answers[name], field) for name in names)
        return [moved(answer.index_select(0, rows), self.labels.device).float() for answer in stored]


class FreshBatches:
    """Augmented training images without a teacher's outputs, on the labels' device, mixed if asked for.

    The images may be on the CPU if that device has no room for them.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        augment: Augment,
        batch_size: int,
        seed: int,
        *,
        mixing: Mixing | None = None,
    ) -> None:
        self.images, self.labels, self.augment, self.seed = images, labels, augment, seed
        self.mixing = mixing
        self.steps = steps_of(len(labels), batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        order = shuffled(len(self.labels), self.steps, self.seed, epoch)
        for step, rows in list(enumerate(order))[start:]:
            here = moved(rows, self.labels.device)
            there = here if self.images.device == here.device else rows
            images = moved(self.images.index_select(0, there), here.device)
            images = self.augment(images, derived_seed(self.seed, "fresh", epoch, step))
            labels, mixed = self.labels[here], None
            if self.mixing:  # with the next image of the batch, which is shuffled
                seed = derived_seed(self.seed, "fresh mix", epoch, step)
                images, weight = self.mixing(images, images.roll(1, 0), seed)
                mixed = Mixed(labels.roll(1), weight)
            yield Batch(images, labels, None, mixed)
