"""Intervals over seeds and images: against closed forms, and on simulated results."""

import numpy as np
import pytest
from scipy.special import expit

from kdsearch.intervals import (
    accuracy_interval,
    difference_interval,
    share_interval,
    unpaired_difference_interval,
)


def simulated(random, seeds, images, *, hard, between=0.3):
    """Correct answers of a network whose accuracy differs between images (`hard`) and seeds."""
    seed = random.normal(0, between, (seeds, 1))
    return random.random((seeds, images)) < expit(hard + seed + random.normal(0, 0.7, (seeds, images)))


def test_of_one_seed_it_is_the_binomial_interval():
    correct = np.arange(1000)[None] < 900
    found = accuracy_interval(correct)
    half = 1.96 * np.sqrt(0.9 * 0.1 / 1000)
    assert found.mean == 0.9
    assert (found.low, found.high) == pytest.approx((0.9 - half, 0.9 + half), abs=0.001)


def test_where_all_images_are_alike_it_is_students_interval_of_the_seeds():
    accuracies = np.array([0.70, 0.72, 0.69, 0.74, 0.71, 0.73, 0.70, 0.75])
    random, images = np.random.default_rng(1), 20_000
    correct = random.random((8, images)) < accuracies[:, None]
    found = accuracy_interval(correct)
    half = 2.365 * correct.mean(axis=1).std(ddof=1) / np.sqrt(8)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.12)


@pytest.mark.parametrize("seeds", [3, 8])
def test_it_holds_the_truth_in_about_95_of_100_repetitions(seeds):
    random, times = np.random.default_rng(seeds), 250
    many = random.normal(1.2, 1.5, 400_000) + random.normal(0, 0.3, 400_000)
    truth = expit(many + random.normal(0, 0.7, 400_000)).mean()
    of_one = of_two = 0
    for _ in range(times):
        hard = random.normal(1.2, 1.5, 300)
        one, other = (simulated(random, seeds, 300, hard=hard) for _ in range(2))
        found = accuracy_interval(one)
        of_one += found.low <= truth <= found.high
        of_two += difference_interval(one, other).holds_zero
    assert 0.91 <= of_one / times <= 0.99
    assert 0.90 <= of_two / times <= 0.99


def test_pairs_are_closer_than_their_own_intervals_say():
    random = np.random.default_rng(0)
    hard = random.normal(1, 3, 500)
    worse = simulated(random, 6, 500, hard=hard, between=0.05)
    better = worse | (random.random((6, 500)) < 0.06)
    lead = difference_interval(better, worse)
    assert lead.low > 0
    assert accuracy_interval(better).low < accuracy_interval(worse).high


def test_equal_networks_have_no_difference_and_extra_seeds_are_left_out():
    correct = np.arange(30).reshape(3, 10) % 3 > 0
    assert difference_interval(correct, correct) == (0.0, 0.0, 0.0)
    assert difference_interval(correct, np.vstack([correct, ~correct])) == (0.0, 0.0, 0.0)


def test_the_same_answers_give_the_same_interval():
    correct = np.random.default_rng(3).random((3, 50)) < 0.8
    assert accuracy_interval(correct) == accuracy_interval(correct.copy())


def test_of_counts_alone_a_difference_at_the_edge_holds_its_level():
    """Between two shares near 1 the plain normal interval would hold the truth too seldom."""
    random, images = np.random.default_rng(0), 288
    rights = random.binomial(images, [0.995, 0.985], (400, 2)) / images
    found = [unpaired_difference_interval(one, other, images) for one, other in rights]
    assert np.mean([each.low <= 0.01 <= each.high for each in found]) >= 0.93
    assert unpaired_difference_interval(1.0, 1.0, images).holds_zero


def test_pairs_make_the_interval_of_a_difference_narrower():
    random = np.random.default_rng(5)
    hard = random.normal(1, 3, 2000)
    one, other = (simulated(random, 1, 2000, hard=hard, between=0.05) for _ in range(2))
    paired = difference_interval(one, other)
    unpaired = unpaired_difference_interval(float(one.mean()), float(other.mean()), 2000)
    assert unpaired.mean == pytest.approx(paired.mean)
    assert unpaired.high - unpaired.low > 1.2 * (paired.high - paired.low)


@pytest.mark.parametrize(("right", "images"), [(0, 5), (5, 5), (287, 288), (190, 288)])
def test_the_interval_of_a_share_lies_in_0_to_1_around_it(right, images):
    found = share_interval(right / images, images)
    assert 0 <= found.low <= found.mean == right / images <= found.high <= 1
    assert found.high - found.low > 0
