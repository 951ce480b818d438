"""Making the views of a bank, in order, each once per machine."""

import shutil
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor, nn

from kdsearch.cache import cache_root, digest, entry, locked, making
from kdsearch.device import autocast
from kdsearch.errors import UsageError
from kdsearch.models.student import as_input
from kdsearch.outputs import Outputs, Shapes
from kdsearch.progress import Progress
from kdsearch.views.augment import Augmentation
from kdsearch.views.bank import View, ViewBank
from kdsearch.views.batches import derived_seed
from kdsearch.views.settings import ViewsConfig

CHUNK = 512  # images augmented with one seed; part of what a view is


def view_bytes(images: Tensor, shapes: Shapes) -> int:
    """The size of one view on disk: pixels, and the teacher's answers in half precision."""
    return images.numel() + 2 * len(images) * (shapes.classes + shapes.embedding)


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
    return entry("views", digest(origin, Augmentation.VERSION, CHUNK, device.type))


class ViewBuilder:
    """Makes the views of `bank` from the training images with the teacher, on the teacher's device."""

    def __init__(
        self, bank: ViewBank, images: Tensor, augment: Augmentation, teacher: nn.Module, seed: int
    ) -> None:
        self.bank, self.images, self.augment, self.teacher, self.seed = bank, images, augment, teacher, seed

    def build(self, number: int, progress: Progress) -> None:
        """Makes view `number` unless this machine has it; a second process waits for the first."""
        path = self.bank.path(number)
        if path.exists():
            return
        with locked(path):
            if path.exists():
                return
            with making(path, view_bytes(self.images, self.bank.shapes)) as folder:
                self._write(folder, number, progress)

    @torch.inference_mode()
    def _write(self, folder: Path, number: int, progress: Progress) -> None:
        view = self._blank(folder)
        self.teacher.eval()
        device = next(self.teacher.parameters()).device
        for chunk, rows in enumerate(torch.split(torch.arange(len(self.images)), CHUNK)):
            pixels = self.augment(self.images[rows], derived_seed(self.seed, "view", number, chunk))
            with autocast(device):
                outputs: Outputs = self.teacher(as_input(pixels.to(device)))
            where = slice(int(rows[0]), int(rows[-1]) + 1)
            for target, tensor in zip(view, (pixels, outputs.logits, outputs.embedding), strict=True):
                target[where] = tensor.cpu().to(target.dtype)
            progress.step(f"view {number + 1} of {self.bank.count}", where.stop, len(self.images))

    def _blank(self, folder: Path) -> View:
        rows = len(self.images)
        files = {
            "images": (tuple(self.images.shape), np.uint8),
            "logits": ((rows, self.bank.classes), np.float16),
            "embedding": ((rows, self.bank.embedding), np.float16),
        }
        arrays = {
            name: open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
            for name, (shape, dtype) in files.items()
        }
        return View(**{name: torch.from_numpy(array) for name, array in arrays.items()})
