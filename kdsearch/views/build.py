"""Making the views of a bank, in order, each once per machine."""

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor, nn

from kdsearch.cache import digest, entry, locked, making
from kdsearch.device import autocast
from kdsearch.errors import UsageError
from kdsearch.models.student import as_input
from kdsearch.outputs import Outputs
from kdsearch.places import cache_root
from kdsearch.progress import Progress
from kdsearch.views.augment import Augmentation
from kdsearch.views.bank import Answers, View, ViewBank
from kdsearch.views.batches import derived_seed
from kdsearch.views.settings import ViewsConfig

CHUNK = 512  # images augmented with one seed; part of what a view is
PIXELS = CHUNK * 64 * 64  # of the images that a teacher is asked about at once
VERSION = 2  # part of the cache key: raise it when a view's files change


def view_bytes(images: Tensor, classes: int, embeddings: Collection[int]) -> int:
    """The size of one view on disk: pixels, and each teacher's answers in half precision."""
    return images.numel() + 2 * len(images) * (classes * len(embeddings) + sum(embeddings))


def affordable_views(config: ViewsConfig, size: int, epochs: int) -> int:
    """How many views of `size` bytes a new study gets: no more than it has epochs, or than fit.

    Raises UsageError where not even one fits into `bank_gib` and half the free disk.
    """
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    room = min(config.bank_gib * 2**30, shutil.disk_usage(root).free / 2)
    if room < size:
        missing = (size - room) / 2**30
        raise UsageError(
            f"{root}: a view takes {size / 2**30:.2f} GiB, {missing:.2f} GiB more than there is room for; "
            "raise views.bank_gib, free disk, or let KDSEARCH_CACHE name a folder on a larger disk"
        )
    return min(config.count, epochs, int(room // size))


def bank_folder(*origin: object, device: torch.device) -> Path:
    """Where the views of one origin lie; the code and the device that make them are part of it."""
    return entry("views", digest(origin, Augmentation.VERSION, CHUNK, VERSION, device.type))


class ViewBuilder:
    """Makes the views of `bank` from the training images with its teachers, on their device."""

    def __init__(
        self,
        bank: ViewBank,
        images: Tensor,
        augment: Augmentation,
        teachers: Mapping[str, nn.Module],
        seed: int,
    ) -> None:
        self.bank, self.images, self.augment, self.teachers, self.seed = bank, images, augment, teachers, seed

    def build(self, number: int, progress: Progress) -> None:
        """Makes view `number` unless this machine has it; a second process waits for the first."""
        path = self.bank.path(number)
        if path.exists():
            return
        with locked(path):
            if path.exists():
                return
            embeddings = [each.embedding for each in self.bank.teachers.values()]
            with making(path, view_bytes(self.images, self.bank.classes, embeddings)) as folder:
                self._write(folder, number, progress)

    @torch.inference_mode()
    def gap(self, number: int, count: int) -> float:
        """Makes `count` random rows of view `number` again; how far its logits are from what is stored.

        The largest difference, over the largest logit or 1; infinite where a pixel differs.
        """
        view = self.bank.view(number)
        chunks = self._chunks()
        chunk = int(torch.randint(len(chunks), ()))
        rows = chunks[chunk]
        pixels = self._pixels(number, chunk, rows)
        picked = torch.randperm(len(rows))[:count]
        if not torch.equal(pixels[picked], view.images[rows[picked]]):
            return torch.inf
        gaps = [0.0]
        for name, teacher in self.teachers.items():
            stored = view.answers[name].logits[rows[picked]].float()
            again = _asked(teacher.eval(), pixels[picked]).logits.cpu().float()
            gaps.append(float((again - stored).abs().max() / stored.abs().max().clamp_min(1)))
        return max(gaps)

    @torch.inference_mode()
    def _write(self, folder: Path, number: int, progress: Progress) -> None:
        view = self._blank(folder)
        networks = {name: teacher.eval() for name, teacher in self.teachers.items()}
        for chunk, rows in enumerate(self._chunks()):
            pixels = self._pixels(number, chunk, rows)
            where = slice(int(rows[0]), int(rows[-1]) + 1)
            view.images[where] = pixels
            for name, teacher in networks.items():
                for target, tensor in zip(view.answers[name], _asked(teacher, pixels), strict=True):
                    target[where] = tensor.cpu().to(target.dtype)
            progress.step(f"view {number + 1} of {self.bank.count}", where.stop, len(self.images))

    def _chunks(self) -> tuple[Tensor, ...]:
        """The rows that are augmented together."""
        return torch.split(torch.arange(len(self.images)), CHUNK)

    def _pixels(self, number: int, chunk: int, rows: Tensor) -> Tensor:
        return self.augment(self.images[rows], derived_seed(self.seed, "view", number, chunk)).cpu()

    def _blank(self, folder: Path) -> View:
        rows = len(self.images)

        def blank(name: str, shape: tuple[int, ...], dtype: type[np.generic] = np.float16) -> Tensor:
            return torch.from_numpy(open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape))

        answers = {
            name: Answers(
                blank(f"{name}.logits", (rows, self.bank.classes)),
                blank(f"{name}.embedding", (rows, each.embedding)),
            )
            for name, each in self.bank.teachers.items()
        }
        return View(blank("images", tuple(self.images.shape), np.uint8), answers)


def _asked(teacher: nn.Module, pixels: Tensor) -> Answers:
    device = next(teacher.parameters()).device
    most = max(1, PIXELS // pixels[0, 0].numel())
    with autocast(device):
        parts: list[Outputs] = [teacher(as_input(part.to(device))) for part in torch.split(pixels, most)]
    return Answers(torch.cat([part.logits for part in parts]), torch.cat([part.embedding for part in parts]))
