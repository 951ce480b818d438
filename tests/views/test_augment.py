import random

import numpy as np
import pytest
import torch

from kdsearch.tables import AugmentationConfig
from kdsearch.views.augment import Augmentation

CHANGES = {
    "padded": {"crop": "padded"},
    "resized": {"crop": "resized"},
    "flip": {"flip": True},
    "rotation": {"rotation": 30.0},
    "jitter": {"jitter": 0.4},
    "erasing": {"erasing": 0.9},
    "all": {"crop": "resized", "flip": True, "rotation": 30.0, "jitter": 0.4, "erasing": 0.5},
}


@pytest.fixture(params=CHANGES)
def augment(request):
    return Augmentation(AugmentationConfig(**({"crop": "none"} | CHANGES[request.param])), 16)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (24, 3, 16, 16), generator=generator, dtype=torch.uint8)


def test_two_images_of_a_batch_get_parameters_of_their_own(augment, images):
    same = images[:1].expand(24, -1, -1, -1)
    changed = augment(same, seed=1)
    assert changed.shape == same.shape
    assert changed.dtype == torch.uint8
    assert len({image.numpy().tobytes() for image in changed}) > 1


def test_the_result_depends_on_images_and_seed_alone(augment, images):
    first = augment(images, seed=1)
    random.seed(5)
    np.random.seed(5)
    torch.rand(7)
    assert torch.equal(augment(images, seed=1), first)
    assert not torch.equal(augment(images, seed=2), first)


def test_what_else_is_in_the_batch_does_not_matter(augment, images):
    others = images.clone()
    others[1::2] = 255 - others[1::2]
    assert torch.equal(augment(others, seed=1)[::2], augment(images, seed=1)[::2])


def test_the_given_images_and_the_global_generator_stay_as_they_are(augment, images):
    kept, before = images.clone(), torch.get_rng_state()
    augment(images, seed=1)
    assert torch.equal(images, kept)
    assert torch.equal(torch.get_rng_state(), before)


def test_gray_stays_one_channel(augment, images):
    gray = images[:, :1]
    changed = augment(gray, seed=1)
    assert changed.shape == gray.shape
    assert torch.equal(gray, images[:, :1])


@pytest.mark.parametrize("channels", [1, 3])
def test_without_changes_pixels_stay_exactly_as_they_are(images, channels):
    nothing = Augmentation(AugmentationConfig(crop="none"), 16)
    assert torch.equal(nothing(images[:, :channels], seed=1), images[:, :channels])


def test_a_padding_of_less_than_half_a_pixel_is_none(images):
    assert torch.equal(Augmentation(AugmentationConfig(padding=0.02), 16)(images, seed=1), images)


def test_a_padded_crop_is_a_shift(images):
    changed = Augmentation(AugmentationConfig(padding=0.125), 16)(images, seed=1)
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    shifts = {
        (dy, dx)
        for image, before in zip(changed, padded, strict=True)
        for dy in range(5)
        for dx in range(5)
        if torch.equal(image, before[:, dy : dy + 16, dx : dx + 16])
    }
    assert len(shifts) > 5


def test_a_flip_mirrors_about_half_of_the_images(images):
    changed = Augmentation(AugmentationConfig(crop="none", flip=True), 16)(images.repeat(4, 1, 1, 1), seed=1)
    flipped = [torch.equal(a, b.flip(-1)) for a, b in zip(changed, images.repeat(4, 1, 1, 1), strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(changed, images.repeat(4, 1, 1, 1), strict=True)]
    assert all(one != other for one, other in zip(flipped, kept, strict=True))
    assert 30 < sum(flipped) < 66
