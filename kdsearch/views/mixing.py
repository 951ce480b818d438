"""Mixup and CutMix: images that hold a part of another one, for which the teacher then answers."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kdsearch.data.scratch import blank
from kdsearch.device import seeded
from kdsearch.tables import AugmentationConfig


class Mix(NamedTuple):
    """The partners of the N images of a view, and how much of each image is its own."""

    partner: Tensor  # int64, N, rows of the training set
    weight: Tensor  # float32, N, 0.5 to 1


def blank_mix(folder: Path, count: int) -> Mix:
    """The files of a new view's mix, mapped into memory. Raises OSError when the disk is full."""
    partner, weight = (folder / f"{name}.npy" for name in Mix._fields)
    return Mix(blank(partner, (count,), np.int64), blank(weight, (count,), np.float32))


class Mixing:
    """Mixup (arXiv 1710.09412) for a share of the images, CutMix (arXiv 1905.04899) for another.

    The weight of an image's own part is uniform between a half and 1: of a pair, one holds what the other
    lacks. The rest of the images stays as it is, with weight 1.
    """

    def __init__(self, mixup: float, cutmix: float) -> None:
        self.mixup, self.cutmix = mixup, cutmix

    @torch.no_grad()
    def __call__(self, images: Tensor, others: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """uint8 images B x C x H x W mixed with `others`, and the weights of their own parts, B."""
        count, (height, width) = len(images), images.shape[-2:]
        with seeded(seed):
            kind, share, down, right = torch.rand(4, count)
        blended, cut = kind < self.mixup, (kind >= self.mixup) & (kind < self.mixup + self.cutmix)
        pasted = rectangles(torch.where(cut, share / 2, 0), down, right, (height, width))
        weight = torch.where(blended, 1 - share / 2, 1 - pasted.float().mean((1, 2)))
        pasted, weight = pasted[:, None].to(images.device), weight.to(images.device)
        own = torch.where(blended.to(images.device), weight, 1)[:, None, None, None]
        pixels = torch.lerp(others.float(), images.float(), own).round().byte()
        return torch.where(pasted, others, pixels), weight


def rectangles(share: Tensor, down: Tensor, right: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks B x H x W of rectangles of the image's own shape with at most that share of its area.

    All arguments lie between 0 and 1; `down` and `right` say where, and no rectangle leaves the image.
    """
    masks = []
    for side, place in zip(size, (down, right), strict=True):
        length = (share.sqrt() * side).floor()
        start = (place * (side - length + 1)).floor()
        along = torch.arange(side)
        masks.append((along >= start[:, None]) & (along < (start + length)[:, None]))
    return masks[0][:, :, None] & masks[1][:, None, :]


def mixing_of(config: AugmentationConfig) -> Mixing | None:
    """The mixing that the config asks for, if any."""
    return Mixing(config.mixup, config.cutmix) if config.mixup or config.cutmix else None
