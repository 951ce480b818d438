"""Random changes to training images, drawn for each image separately."""

import math

import kornia.augmentation as kornia
import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample, interpolate
from torchvision.transforms.v2 import RandAugment, TrivialAugmentWide

from kdsearch.device import seeded
from kdsearch.tables import AugmentationConfig

POLICIES = {"trivial": TrivialAugmentWide, "rand": RandAugment}  # for one image at a time
ASPECT = math.log(4 / 3)  # of a `resized` crop, to either side


class Augmentation:
    """Crop, flip, policy, rotation, colour jitter, erasing; each image gets parameters of its own.

    It cuts from pictures of any size S and returns `size` pixels a side. The same seed cuts the same crops
    at every `size`: to show one crop at two sizes, make it at the larger one and use `reduced`.
    """

    VERSION = 2  # part of the cache key: raise it when the same config makes other pixels

    def __init__(self, config: AugmentationConfig, size: int) -> None:
        self.config, self.size = config, size
        self.policy: nn.Module | None = POLICIES[config.policy]() if config.policy in POLICIES else None
        steps: list[nn.Module] = []
        if config.rotation:
            steps.append(Rotation(config.rotation))
        if config.jitter:
            strength = config.jitter
            steps.append(kornia.ColorJitter(strength, strength, strength, 0.0, p=1.0))
        if config.erasing:
            steps.append(kornia.RandomErasing(scale=(0.02, 0.2), p=config.erasing))
        self.steps = nn.Sequential(*steps)

    @torch.no_grad()
    def __call__(self, images: Tensor, seed: int) -> Tensor:
        """Augments uint8 images B x C x S x S to B x C x size x size.

        The result depends on images, config, size and seed alone.
        """
        with seeded(seed, images.device):
            crops = self._cropped(images)
            if self.config.flip:
                mirrored = (torch.rand(len(crops)) < 0.5).to(crops.device)
                crops = torch.where(mirrored[:, None, None, None], crops.flip(-1), crops)
            if self.policy is not None:
                coloured = crops.expand(-1, 3, -1, -1)
                crops = torch.stack([self.policy(crop) for crop in coloured])[:, : images.shape[1]]
            if not len(self.steps):
                return crops
            # Colour jitter wants three channels.
            changed: Tensor = self.steps(crops.float().div(255).expand(-1, 3, -1, -1))
        return changed[:, : images.shape[1]].clamp(0, 1).mul(255).round().byte()

    def _cropped(self, images: Tensor) -> Tensor:
        count, side = len(images), images.shape[-1]
        if self.config.crop == "resized":
            boxes = resized_boxes(count, self.config.scale, side)
        elif self.config.crop == "padded" and (pixels := round(self.config.padding * side)):
            images = nn.functional.pad(images, (pixels,) * 4)
            boxes = [
                (top, left, side, side) for top, left in torch.randint(2 * pixels + 1, (count, 2)).tolist()
            ]
        else:
            return reduced(images, self.size)
        crops = [
            image[None, :, top : top + height, left : left + width]
            for image, (top, left, height, width) in zip(images, boxes, strict=True)
        ]
        return torch.cat([reduced(crop, self.size) for crop in crops])


class Rotation(nn.Module):
    """Rotates each of B x C x H x W about its centre by up to so many degrees; the corners reflect it.

    Twice as fast as kornia's.
    """

    def __init__(self, degrees: float) -> None:
        super().__init__()
        self.most = math.radians(degrees)

    def forward(self, images: Tensor) -> Tensor:
        angles = ((2 * torch.rand(len(images)) - 1) * self.most).to(images.device)
        cos, sin, none = angles.cos(), angles.sin(), torch.zeros_like(angles)
        turned = torch.stack([cos, sin, none, -sin, cos, none], dim=1).view(-1, 2, 3)
        grid = affine_grid(turned, list(images.shape), align_corners=False)
        return grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def resized_boxes(count: int, scale: float, side: int) -> list[tuple[int, int, int, int]]:
    """Random crops of a square picture, (top, left, height, width) in pixels.

    Each has a share of the area between `scale` and 1, and an aspect between 3:4 and 4:3 with which that
    share fits into the picture.
    """
    share, aspect, down, right = torch.rand(4, count, dtype=torch.float64)
    area = scale + (1 - scale) * share
    widest = area.log().neg().clamp(max=ASPECT)
    root = ((2 * aspect - 1) * widest / 2).exp()
    height, width = ((area.sqrt() * each * side).round().clamp(1, side) for each in (1 / root, root))
    top, left = (down * (side - height)).round(), (right * (side - width)).round()
    boxes = torch.stack([top, left, height, width], dim=1).long().tolist()
    return [(top, left, height, width) for top, left, height, width in boxes]


def reduced(images: Tensor, size: int) -> Tensor:
    """uint8 images B x C x H x W at `size` x `size`, by bilinear interpolation with antialiasing.

    The images themselves if they have that size.
    """
    if images.shape[-2:] == (size, size):
        return images
    if images.device.type == "cpu":
        return interpolate(images, (size, size), mode="bilinear", antialias=True)
    pixels = interpolate(images.float(), (size, size), mode="bilinear", antialias=True)
    return pixels.clamp(0, 255).round().byte()
