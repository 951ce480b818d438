"""RKD's formula, written out in float64, pair by pair and triplet by triplet."""

from itertools import combinations, permutations

import numpy as np
import pytest
import torch

from kdsearch.distill.rkd import RKD
from kdsearch.outputs import Outputs


def huber(a, b):
    off = abs(a - b)
    return off**2 / 2 if off <= 1 else off - 0.5


def relative(embedding):
    apart = np.array([np.linalg.norm(a - b) for a, b in combinations(embedding, 2)])
    return apart / apart.mean()


def cosine(a, b, c):
    """Of the angle at b."""
    return (a - b) @ (c - b) / np.linalg.norm(a - b) / np.linalg.norm(c - b)


def formula(distance, angle):
    def of(student, teacher, labels):
        pairs = np.mean([huber(a, b) for a, b in zip(relative(student), relative(teacher), strict=True)])
        triplets = np.mean(
            [
                huber(cosine(*student[list(three)]), cosine(*teacher[list(three)]))
                for three in permutations(range(len(student)), 3)
            ]
        )
        return distance * pairs + angle * triplets

    return of


@pytest.mark.parametrize("settings", [(25.0, 50.0), (1.0, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize("widths", [(4, 4), (4, 9)])
def test_it_equals_the_formula(agrees, made, settings, widths):
    agrees(made(RKD, distance=settings[0], angle=settings[1]), formula(*settings), "embedding", widths)


def test_anchors_in_chunks_change_nothing(agrees, made):
    loss = made(RKD)
    loss.anchors = 4
    agrees(loss, formula(25.0, 50.0), "embedding", (4, 9))


def test_equal_embeddings_have_a_finite_gradient(made):
    same = torch.ones(4, 3, requires_grad=True)
    teacher = Outputs(torch.empty(0), torch.randn(4, 3), {})
    sum(made(RKD)(Outputs(torch.empty(0), same, {}), teacher, torch.arange(4)).values()).backward()
    assert same.grad.isfinite().all()


def test_it_knows_no_scale(made):
    drawn = torch.Generator().manual_seed(0)
    ours, theirs = torch.randn((2, 6, 4), generator=drawn)
    parts = [
        made(RKD)(
            Outputs(torch.empty(0), scale * ours, {}), Outputs(torch.empty(0), theirs, {}), torch.arange(6)
        )
        for scale in (1.0, 100.0)
    ]
    torch.testing.assert_close(parts[0], parts[1])


def test_one_pair_of_equal_embeddings_has_no_exploding_gradient(made):
    ours = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    ours[1] = ours[0]
    ours.requires_grad_()
    teacher = Outputs(torch.empty(0), torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), {})
    sum(made(RKD)(Outputs(torch.empty(0), ours, {}), teacher, torch.arange(6)).values()).backward()
    assert ours.grad.abs().max() < 1e3


@pytest.mark.parametrize("images", [1, 2])
def test_too_few_images_for_an_angle_are_no_nan(made, images):
    embeddings = torch.randn(2, images, 4, generator=torch.Generator().manual_seed(0))
    ours, theirs = (Outputs(torch.empty(0), each, {}) for each in embeddings)
    parts = made(RKD)(ours, theirs, torch.arange(images))
    assert parts["rkd_angle"] == 0
    assert parts["rkd_distance"] == 0  # a single distance is its own mean
