"""Mixup and CutMix."""

import pytest
import torch

from kdsearch.tables import AugmentationConfig
from kdsearch.views.batches import FreshBatches
from kdsearch.views.mixing import Mixing, mixing_of

BLACK, WHITE = (torch.full((400, 1, 9, 7), value, dtype=torch.uint8) for value in (0, 255))


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.0, 1.0), (0.4, 0.4)])
def test_a_weight_is_the_share_of_an_image_s_own_light(shares):
    mixed, weight = Mixing(*shares)(WHITE, BLACK, seed=1)
    assert mixed.shape == WHITE.shape
    assert (mixed.float().mean((1, 2, 3)) / 255 - weight).abs().max() < 0.003
    assert weight.min() >= 0.5
    assert weight.max() <= 1


def test_cutmix_pastes_rectangles_and_mixup_blends():
    cut, _ = Mixing(0.0, 1.0)(WHITE, BLACK, seed=1)
    assert set(cut.unique().tolist()) == {0, 255}
    blended, _ = Mixing(1.0, 0.0)(WHITE, BLACK, seed=1)
    assert all(len(image.unique()) == 1 for image in blended)
    assert len(blended.unique()) > 50


def test_the_rest_stays_as_it_is():
    mixed, weight = Mixing(0.3, 0.2)(WHITE, BLACK, seed=1)
    kept = (mixed == 255).flatten(1).all(1)
    assert abs(kept.float().mean() - 0.5) < 0.1
    assert (weight[kept] == 1).all()


def test_the_seed_decides():
    first = Mixing(0.5, 0.5)(WHITE, BLACK, seed=1)
    again, other = (Mixing(0.5, 0.5)(WHITE, BLACK, seed) for seed in (1, 2))
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[1], other[1])


def test_without_shares_there_is_no_mixing():
    assert mixing_of(AugmentationConfig()) is None


def test_fresh_batches_hand_out_both_labels():
    labels = torch.arange(40) % 10
    images = (labels * 20).byte()[:, None, None, None].expand(-1, 3, 8, 8)
    batches = FreshBatches(images, labels, lambda images, _: images, 20, seed=0, mixing=Mixing(1.0, 0.0))
    for batch in batches.epoch(0):
        weight = batch.mixed.weight
        expected = 20 * (weight * batch.labels + (1 - weight) * batch.mixed.labels)
        assert (batch.images[:, 0, 0, 0].float() - expected).abs().max() <= 0.51
