"""Random changes to training images, drawn for each image separately."""

import kornia.augmentation as kornia
import torch
from torch import Tensor, nn

from kdsearch.device import seeded
from kdsearch.tables import AugmentationConfig


class Augmentation:
    """Crop, flip, rotation, colour jitter, erasing, by kornia; each image gets parameters of its own."""

    VERSION = 1  # part of the cache key: raise it when the same config makes other pixels

    def __init__(self, config: AugmentationConfig, image_size: int) -> None:
        steps: list[nn.Module] = []
        side = (image_size, image_size)
        if config.crop == "padded" and (pixels := round(config.padding * image_size)):
            steps.append(kornia.RandomCrop(side, padding=pixels, p=1.0))
        if config.crop == "resized":
            steps.append(kornia.RandomResizedCrop(side, scale=(config.scale, 1.0), p=1.0))
        if config.flip:
            steps.append(kornia.RandomHorizontalFlip(p=0.5))
        if config.rotation:
            steps.append(kornia.RandomRotation(config.rotation, p=1.0))
        if config.jitter:
            strength = config.jitter
            steps.append(kornia.ColorJitter(strength, strength, strength, 0.0, p=1.0))
        if config.erasing:
            steps.append(kornia.RandomErasing(scale=(0.02, 0.2), p=config.erasing))
        self.steps = nn.Sequential(*steps)

    @torch.no_grad()
    def __call__(self, images: Tensor, seed: int) -> Tensor:
        """Augments uint8 images B x C x H x W; the result depends on images, config, seed alone."""
        channels = images.shape[1]
        pixels = images.float().div(255).expand(-1, 3, -1, -1)  # colour jitter wants three channels
        with seeded(seed, images.device):
            changed: Tensor = self.steps(pixels)
        return changed[:, :channels].clamp(0, 1).mul(255).round().byte()
