import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdsearch.data.image_set import ImageSet
from kdsearch.data.split import count_copies, draw, folds, hold_out, quotas, subset
from kdsearch.errors import DataError


def image_set(sizes, channels=1):
    """As many different images of each class as `sizes` says."""
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    numbers = torch.arange(len(labels))
    pixels = torch.stack([numbers // 256, numbers % 256], 1).to(torch.uint8)
    images = pixels[:, None, None, :].expand(-1, channels, 2, 2).contiguous()
    return ImageSet(images, labels, tuple(f"class {index}" for index in range(len(sizes))))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(0, 2**32), st.data())
def test_a_draw_is_stratified_to_less_than_one_image_a_class(sizes, seed, data):
    count = data.draw(st.integers(0, sum(sizes)))
    labels = image_set(sizes).labels
    chosen, rest = draw(labels, count, seed)
    assert len(chosen) == count
    assert torch.equal(torch.cat([chosen, rest]).sort().values, torch.arange(len(labels)))
    for size, found in zip(sizes, torch.bincount(labels[chosen], minlength=len(sizes)), strict=True):
        assert abs(int(found) - size * count / sum(sizes)) < 1


def test_remainders_decide_who_gets_the_odd_image_and_ties_go_to_the_first():
    assert quotas(torch.tensor([5, 5, 5]).numpy(), 4).tolist() == [2, 1, 1]
    assert quotas(torch.tensor([10, 1, 9]).numpy(), 2).tolist() == [1, 0, 1]


def test_the_seed_alone_decides_the_draw():
    labels = image_set([40, 40]).labels
    assert torch.equal(draw(labels, 20, 7)[0], draw(labels, 20, 7)[0])
    assert not torch.equal(draw(labels, 20, 7)[0], draw(labels, 20, 8)[0])


@given(
    st.lists(st.integers(4, 40), min_size=1, max_size=6), st.integers(2, 4), st.integers(0, 2**32), st.data()
)
def test_folds_are_stratified_and_hold_exact_copies_together(sizes, count, seed, data):
    images = image_set(sizes)
    copied = torch.tensor(data.draw(st.lists(st.integers(0, sum(sizes) - 1), max_size=20)), dtype=torch.int64)
    fold = folds(images.select(torch.cat([torch.arange(sum(sizes)), copied])), count, seed)
    assert fold[sum(sizes) :].equal(fold[copied])
    once = fold[: sum(sizes)]
    for members in (once, *(once[images.labels == label] for label in range(len(sizes)))):
        counts = torch.bincount(members, minlength=count)
        assert counts.max() - counts.min() <= 1
    assert folds(images, count, seed).equal(once)


def test_the_share_held_out_is_rounded_up():
    held = hold_out(image_set([11, 10]), 0.2, 0)
    assert (len(held.train), len(held.validation), held.stayed) == (16, 5, 0)


def test_a_share_whose_product_is_inexact_holds_out_no_image_too_many():
    assert 0.07 * 100 > 7
    assert len(hold_out(image_set([50, 50]), 0.07, 0).validation) == 7


@pytest.mark.parametrize("seed", range(5))
def test_copies_of_training_images_are_not_held_out(seed):
    twice = image_set([20, 20])
    twice = ImageSet(twice.images.repeat(2, 1, 1, 1), twice.labels.repeat(2), twice.classes)
    held = hold_out(twice, 0.3, seed)
    assert held.stayed > 0
    assert len(held.train) + len(held.validation) == 80
    assert count_copies(held.validation, held.train) == 0


def test_a_class_too_small_to_divide_is_named():
    with pytest.raises(DataError, match=r"class 'class 1': its 1 images are too few"):
        hold_out(image_set([20, 1]), 0.2, 0)


def test_a_subset_is_stratified_and_seeded():
    everything = image_set([30, 60])
    part = subset(everything, 30, 3)
    assert torch.bincount(part.labels).tolist() == [10, 20]
    assert torch.equal(part.images, subset(everything, 30, 3).images)


@pytest.mark.parametrize("count", [91, 1])
def test_a_subset_that_cannot_be_names_what_can(count):
    with pytest.raises(DataError, match=rf"data.train_images = {count}: .*allowed: 3 .* to 90 \(all\)"):
        subset(image_set([30, 60]), count, 0)


def test_copies_are_counted_across_gray_and_colour():
    gray, colour = image_set([3, 3]), image_set([2, 2], channels=3)
    assert count_copies(colour, gray) == 4
    assert count_copies(gray, colour) == 4
    colour.images[0, 0] += 1
    assert count_copies(colour, gray) == 3
