import random

import numpy as np
import pytest
import torch

from kdsearch.tables import AugmentationConfig
from kdsearch.views.augment import Augmentation, reduced, resized_boxes

CHANGES = {
    "padded": {"crop": "padded"},
    "resized": {"crop": "resized"},
    "flip": {"flip": True},
    "rotation": {"rotation": 30.0},
    "jitter": {"jitter": 0.4},
    "erasing": {"erasing": 0.9},
    "trivial": {"policy": "trivial"},
    "rand": {"policy": "rand"},
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


def gradient(side):
    """A picture whose pixels tell where they come from: red grows downwards, green to the right."""
    ramp = torch.linspace(0, 255, side).round().byte()
    return torch.stack(
        [ramp[:, None].expand(side, side), ramp.expand(side, side), torch.zeros(side, side).byte()]
    )


@pytest.mark.parametrize("name", CHANGES)
def test_a_larger_source_gives_images_of_the_size_asked_for(name, images):
    config = AugmentationConfig(**({"crop": "none"} | CHANGES[name]))
    changed = Augmentation(config, 8)(images, seed=1)
    assert changed.shape == (24, 3, 8, 8)
    assert torch.equal(Augmentation(config, 8)(images, seed=1), changed)


@pytest.mark.parametrize(
    "config", [{"crop": "none"}, {"crop": "resized"}, {"crop": "padded"}, {"flip": True}]
)
def test_the_same_seed_cuts_the_same_crops_at_every_size(config):
    pictures = gradient(64).expand(16, -1, -1, -1)
    large, small = (Augmentation(AugmentationConfig(**config), size)(pictures, seed=1) for size in (32, 16))
    gap = (reduced(large, 16).float() - small.float()).abs()
    other = Augmentation(AugmentationConfig(**config), 16)(pictures, seed=2)
    assert gap.mean() < 1
    if config != {"crop": "none"}:
        assert (other.float() - small.float()).abs().mean() > 5


def test_a_reduction_has_antialiasing():
    stripes = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    stripes[..., ::2] = 255
    inner = reduced(stripes, 16)[..., 1:-1]
    assert ((inner > 100) & (inner < 155)).all()


def test_crops_have_the_shares_and_aspects_asked_for():
    boxes = torch.tensor(resized_boxes(2000, 0.3, 100)).double()
    top, left, height, width = boxes.unbind(1)
    assert (boxes >= 0).all()
    assert (top + height <= 100).all()
    assert (left + width <= 100).all()
    share = height * width / 100**2
    assert 0.28 < share.min() < 0.35
    assert 0.95 < share.max() <= 1
    assert abs(share.mean() - 0.65) < 0.02
    assert (width / height).max() < 1.37
    assert (height / width).max() < 1.37
    assert (width / height).max() > 1.25


def test_a_rotation_leaves_no_black_corners():
    white = torch.full((16, 3, 32, 32), 255, dtype=torch.uint8)
    assert (Augmentation(AugmentationConfig(crop="none", rotation=45.0), 32)(white, seed=1) > 250).all()
