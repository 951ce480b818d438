"""Makes the views of a bank in order, each once per machine."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from kdsearch.cache import amount, digest, entry, locked, making, sound
from kdsearch.data.scratch import blank
from kdsearch.device import autocast
from kdsearch.errors import TeacherError, UsageError
from kdsearch.files import cache_root
from kdsearch.models.folded import Folded
from kdsearch.models.student import as_input
from kdsearch.outputs import Outputs
from kdsearch.progress import Progress
from kdsearch.tables import ViewsConfig
from kdsearch.views.augment import Augmentation, reduced
from kdsearch.views.bank import Answers, ViewBank
from kdsearch.views.batches import derived_seed
from kdsearch.views.mixing import Mix, Mixing, blank_mix

CHUNK = 512  # images augmented with one seed; part of what a view is
PIXELS = CHUNK * 64 * 64  # of the images that a teacher is asked about at once
VERSION = 3  # part of the cache key: raise it when a view's files change


def view_bytes(shape: Sequence[int], classes: int, embeddings: Collection[int]) -> int:
    """The size of one view on disk: pixels N x C x H x W, and each teacher's outputs in half precision."""
    return prod(shape) + 2 * shape[0] * (classes * len(embeddings) + sum(embeddings))


def affordable_views(config: ViewsConfig, size: int, epochs: int) -> int:
    """The number of views of `size` bytes for a new study: at most its epochs, and as many as fit.

    Raises UsageError if not even one fits into `bank_gib` and half the free disk.
    """
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    room = min(config.bank_gib * 2**30, shutil.disk_usage(root).free / 2)
    if room < size:
        raise UsageError(
            f"{root}: a view takes {amount(size)}, {amount(int(size - room))} more than there is room for; "
            "raise views.bank_gib, free disk, or let KDSEARCH_CACHE name a folder on a larger disk"
        )
    return min(config.count, epochs, int(room // size))


def bank_folder(*origin: object, device: torch.device) -> Path:
    """The folder of views with the same inputs, among them the version of the code and the kind of device."""
    return entry("views", digest(origin, Augmentation.VERSION, CHUNK, VERSION, device.type))


class ViewBuilder:
    """Makes the views of `bank` from the training images with its teachers, on their device.

    `images` are N x C x S x S. `augment` makes them as large as the largest teacher sees them; from that the
    other teachers' images are reduced, and the view's to `size` pixels a side (left out: not reduced). With
    `mixing` each image is mixed with its partner, another one of the whole set, before teachers answer; with
    one of its own fold, if they are Folded.
    """

    def __init__(
        self,
        bank: ViewBank,
        images: Tensor,
        augment: Augmentation,
        teachers: Mapping[str, nn.Module],
        seed: int,
        *,
        size: int | None = None,
        mixing: Mixing | None = None,
    ) -> None:
        self.bank, self.images, self.augment, self.teachers, self.seed = bank, images, augment, teachers, seed
        self.size, self.mixing = size or augment.size, mixing
        self.pixels = PIXELS

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a view's images."""
        return (*self.images.shape[:2], self.size, self.size)

    def build(self, number: int, progress: Progress) -> None:
        """Makes view `number` unless this machine has a sound one; a second process waits.

        Raises TeacherError if an answer is not finite.
        """
        path = self.bank.path(number)
        with locked(path):
            if sound(path, progress.say):
                return
            embeddings = [each.embedding for each in self.bank.teachers.values()]
            with making(path, view_bytes(self.shape, self.bank.classes, embeddings)) as folder:
                self._write(folder, number, progress)

    @torch.inference_mode()
    def gap(self, number: int, count: int) -> float:
        """Makes `count` random rows of view `number` again; returns the difference to the stored logits.

        It is the largest difference, divided by the largest logit or 1; infinite if a pixel differs.
        """
        view = self.bank.view(number)
        chunks = self._chunks()
        chunk = int(torch.randint(len(chunks), ()))
        rows = chunks[chunk]
        picked = torch.randperm(len(rows))[:count]
        seen = self._mixed(number, chunk, rows)[0][picked]
        if not torch.equal(reduced(seen, self.size), view.images[rows[picked]]):
            return torch.inf
        gaps = [0.0]
        for name in self.teachers:
            stored = view.answers[name].logits[rows[picked]].float()
            again = self._asked(name, seen, rows[picked]).logits.cpu().float()
            gaps.append(float((again - stored).abs().max() / stored.abs().max().clamp_min(1)))
        return max(gaps)

    @torch.inference_mode()
    def _write(self, folder: Path, number: int, progress: Progress) -> None:
        task = f"view {number + 1} of {self.bank.count}"
        images = blank(folder / "images.npy", self.shape, np.uint8)
        columns = {
            (name, field): Column(folder / f"{name}.{field}.npy", (len(images), width))
            for name, each in self.bank.teachers.items()
            for field, width in zip(Answers._fields, (self.bank.classes, each.embedding), strict=True)
        }
        mix = blank_mix(folder, len(images)) if self.mixing else None
        for chunk, rows in enumerate(self._chunks()):
            pixels, mixed = self._mixed(number, chunk, rows)
            where = slice(int(rows[0]), int(rows[-1]) + 1)
            if mix and mixed:
                mix.partner[where], mix.weight[where] = mixed
            images[where] = reduced(pixels, self.size)
            for name in self.teachers:
                for field, numbers in self._asked(name, pixels, rows)._asdict().items():
                    _check_finite(numbers, f"teacher {name!r}: its {field} for {task}")
                    columns[name, field].write(where, numbers.cpu().float())
            progress.step(task, where.stop, len(self.images))

    def _chunks(self) -> tuple[Tensor, ...]:
        """Splits the rows into chunks that are augmented together."""
        return torch.split(torch.arange(len(self.images)), CHUNK)

    def _mixed(self, number: int, chunk: int, rows: Tensor) -> tuple[Tensor, Mix | None]:
        """The augmented images, mixed with their partners if the study says so."""
        pixels = self._pixels(rows, "view", number, chunk)
        if self.mixing is None:
            return pixels, None
        partners = self._partners(number)[rows]
        others = self._pixels(partners, "partners", number, chunk)
        pixels, weight = self.mixing(pixels, others, derived_seed(self.seed, "mix", number, chunk))
        return pixels, Mix(partners, weight)

    def _partners(self, number: int) -> Tensor:
        """A permutation of the images' rows that stays inside the folds."""
        order = torch.Generator().manual_seed(derived_seed(self.seed, "partners", number))
        drawn = torch.randperm(len(self.images), generator=order)
        partners = torch.empty_like(drawn)
        partners[self._folds.argsort(stable=True)] = drawn[self._folds[drawn].argsort(stable=True)]
        return partners

    @cached_property
    def _folds(self) -> Tensor:
        """Equal for two images if no teacher has them in different folds."""
        folds = torch.zeros(len(self.images), dtype=torch.int64)
        for teacher in self.teachers.values():
            if isinstance(teacher, Folded):
                folds = folds * len(teacher.networks) + teacher.fold.cpu()
        return folds

    def _pixels(self, rows: Tensor, *of: object) -> Tensor:
        return self.augment(self.images[rows], derived_seed(self.seed, *of)).cpu()

    def _asked(self, name: str, pixels: Tensor, rows: Tensor) -> Answers:
        """The teacher's outputs for augmented images, at its own size and in its own precision.

        Those of a Folded one are of the networks that have not seen these rows.
        """
        teacher, own = self.teachers[name].eval(), self.bank.teachers[name]
        shown = reduced(pixels, own.image_size or self.size)
        device = next(teacher.parameters()).device
        most = max(1, self.pixels // shown[0, 0].numel())
        with autocast(device, bfloat16=own.bfloat16):
            parts: list[Outputs] = [
                teacher.held_out(as_input(part.to(device)), of)
                if isinstance(teacher, Folded)
                else teacher(as_input(part.to(device)))
                for part, of in zip(torch.split(shown, most), torch.split(rows, most), strict=True)
            ]
        return Answers(
            torch.cat([part.logits for part in parts]), torch.cat([part.embedding for part in parts])
        )


class Column:
    """The file of one field of a teacher's outputs: float16, or float32 if a number is too large for that."""

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self.path = path
        self.stored = blank(path, shape, np.float16)

    def write(self, where: slice, numbers: Tensor) -> None:
        """Stores float32 numbers in these rows. Raises OSError when the disk is full."""
        if self.stored.dtype == torch.half and not numbers.half().isfinite().all():
            wide = self.path.with_suffix(".wide")
            stored = blank(wide, tuple(self.stored.shape), np.float32).copy_(self.stored)
            wide.replace(self.path)
            self.stored = stored
        self.stored[where] = numbers.to(self.stored.dtype)


def _check_finite(numbers: Tensor, what: str) -> None:
    if not numbers.isfinite().all():
        raise TeacherError(
            f"{what} are not all finite, so no student can learn from them; lower its learning_rate, "
            "or give another checkpoint"
        )
