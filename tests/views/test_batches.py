import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdsearch.cache import SUMS, making
from kdsearch.tables import AugmentationConfig
from kdsearch.views.augment import Augmentation
from kdsearch.views.bank import ViewBank
from kdsearch.views.batches import FreshBatches, ViewBatches, derived_seed, shuffled, steps_of


@pytest.fixture
def batches(bank, labels):
    def make(batch_size=16, seed=3, reads=("logits", "embedding"), wait=lambda number: None):
        return ViewBatches(bank, labels, batch_size, seed, teachers=["teacher"], reads=reads, wait=wait)

    return make


@pytest.fixture
def fresh(bank, labels):
    return FreshBatches(
        bank.view(0).images, labels, Augmentation(AugmentationConfig(rotation=30.0), 8), 16, seed=3
    )


def equal(one, other):
    """Whether two lists of batches hold the same images, labels and answers."""
    return len(one) == len(other) and all(
        torch.equal(a.images, b.images)
        and torch.equal(a.labels, b.labels)
        and (a.teacher is None or torch.equal(a.teacher.logits, b.teacher.logits))
        for a, b in zip(one, other, strict=True)
    )


def equal_sets(one, other):
    """Whether two tensors hold the same images, in whatever order."""
    return sorted(one.flatten(1).tolist()) == sorted(other.flatten(1).tolist())


@given(st.integers(2, 300), st.integers(2, 80), st.integers(0, 5))
def test_an_epoch_shows_each_image_once_in_batches_of_sizes_as_equal_as_possible(images, batch_size, epoch):
    steps = steps_of(images, batch_size)
    order = shuffled(images, steps, seed=1, epoch=epoch)
    sizes = [len(rows) for rows in order]
    assert torch.cat(order).sort().values.tolist() == list(range(images))
    assert len(sizes) == steps
    assert max(sizes) - min(sizes) <= (images % steps != 0)
    assert min(sizes) >= 2  # of one image BatchNorm knows no deviation
    assert max(sizes) <= batch_size + (
        batch_size == 2 and images % 2
    )  # so of an odd number three go together


@given(st.integers(1, 100), st.integers(2, 80))
def test_where_the_images_divide_evenly_the_batches_are_those_of_earlier_versions(steps, size):
    """A study that began with them goes on with them."""
    generator = torch.Generator().manual_seed(derived_seed(1, "order", 2))
    before = torch.split(torch.randperm(steps * size, generator=generator), size)
    now = shuffled(steps * size, steps_of(steps * size, size), seed=1, epoch=2)
    assert [rows.tolist() for rows in now] == [rows.tolist() for rows in before]


@pytest.mark.parametrize("batch_size", [2, 4, 8, 64])
def test_batches_of_a_view_and_fresh_ones_show_every_image(bank, labels, batch_size):
    last = torch.arange(39)  # an odd number
    view = ViewBatches(
        bank, last, batch_size, 3, teachers=["teacher"], reads=("logits",), wait=lambda number: None
    )
    augment = Augmentation(AugmentationConfig(crop="none"), 8)
    anew = FreshBatches(bank.view(0).images[:39], last, augment, batch_size, seed=3)
    for batches in (view, anew):
        shown = [batch.labels for batch in batches.epoch(0)]
        assert torch.cat(shown).sort().values.tolist() == last.tolist()
        assert len(shown) == batches.steps
        assert min(map(len, shown)) >= 2


def test_a_set_larger_than_a_window_is_read_one_window_after_the_other():
    orders = [torch.cat(shuffled(350, 35, seed=1, epoch=epoch, window=100)) for epoch in range(6)]
    windows = [[row // 100 for row in order.tolist()] for order in orders]
    assert all(sorted(order.tolist()) == list(range(350)) for order in orders)
    assert all(sum(a != b for a, b in pairwise(found)) == 3 for found in windows)
    assert len({tuple(dict.fromkeys(found)) for found in windows}) > 1  # in another order of the windows
    within = [order[torch.tensor(found) == 2].tolist() for order, found in zip(orders, windows, strict=True)]
    assert all(rows != sorted(rows) for rows in within)
    assert within[0] != within[1]


class Noting(ViewBank):
    """A bank that notes which bytes it is to read ahead."""

    noted: list[tuple[int, int]]

    def read_ahead(self, number, rows):
        super().read_ahead(number, rows)
        self.noted.append(self.extent(number, rows))


def test_the_system_reads_ahead_what_comes_next_and_no_more(bank, labels):
    header = (bank.path(1) / "images.npy").stat().st_size - 40 * 192
    noting = Noting(**bank.model_dump(), noted=[])
    batches = ViewBatches(
        noting, labels, 8, 3, teachers=["teacher"], reads=("logits",), wait=lambda number: None
    )
    batches.window = 16
    shown = torch.cat([batch.images for batch in batches.epoch(1)])
    assert sorted(noting.noted) == [
        (header + row * 192, rows * 192) for row, rows in ((0, 16), (16, 16), (32, 8))
    ]
    assert equal_sets(shown, bank.view(1).images)


def test_the_order_is_shared_by_all_trials_and_new_in_each_epoch(batches):
    assert equal(list(batches().epoch(4)), list(batches().epoch(4)))
    assert not equal(list(batches().epoch(2)), list(batches().epoch(4)))  # the same view
    assert not equal(list(batches().epoch(4)), list(batches(seed=4).epoch(4)))


def test_an_epoch_can_begin_at_any_step(batches, fresh):
    for each in (batches(), fresh):
        whole = list(each.epoch(1))
        assert len(whole) == each.steps == 3
        for start in range(4):
            assert equal(list(each.epoch(1, start)), whole[start:])


def test_epoch_e_reads_view_e_modulo_their_number(batches, bank):
    for epoch in range(4):
        view = bank.view(epoch % 2)
        rows = torch.cat(shuffled(40, 3, 3, epoch))
        assert torch.equal(torch.cat([batch.images for batch in batches().epoch(epoch)]), view.images[rows])


def test_a_batch_holds_the_answers_and_labels_of_its_images(batches, bank, labels):
    for batch, rows in zip(batches().epoch(1), shuffled(40, 3, 3, 1), strict=True):
        assert torch.equal(batch.labels, labels[rows])
        assert torch.equal(batch.teacher.logits, bank.view(1).answers["teacher"].logits[rows].float())
        assert torch.equal(batch.teacher.embedding, bank.view(1).answers["teacher"].embedding[rows].float())
        assert batch.teacher.hints == {}


def test_answers_that_no_loss_reads_are_left_on_the_disk(batches):
    batch = next(batches(reads=("logits",)).epoch(0))
    assert batch.teacher.embedding.numel() == 0
    assert len(batch.teacher.logits) == len(batch.labels)


def test_several_teachers_answer_with_mean_logits_and_embeddings_side_by_side(bank, labels, tmp_path):
    shutil.copytree(bank.folder, tmp_path / "own", ignore=shutil.ignore_patterns(SUMS))
    random = np.random.default_rng(7)
    for number in range(bank.count):
        for field, width in (("logits", 5), ("embedding", 3)):
            numbers = random.normal(size=(40, width)).astype(np.float16)
            np.save(tmp_path / "own" / f"view-{number:04d}" / f"other.{field}.npy", numbers)
        with making(tmp_path / "bank" / f"view-{number:04d}", 0) as folder:
            shutil.copytree(tmp_path / "own" / f"view-{number:04d}", folder, dirs_exist_ok=True)
    teachers = {"teacher": {"embedding": 6}, "other": {"embedding": 3}}
    both = ViewBank(folder=tmp_path / "bank", count=2, classes=5, teachers=teachers)
    reads = ("logits", "embedding")
    batches = ViewBatches(
        both, labels, 16, 3, teachers=["teacher", "other"], reads=reads, wait=lambda number: None
    )
    (one, other), rows = both.view(1).answers.values(), shuffled(40, 3, 3, 1)[0]
    batch = next(batches.epoch(1))
    mean = (one.logits[rows].float() + other.logits[rows].float()) / 2
    torch.testing.assert_close(batch.teacher.logits, mean)
    assert torch.equal(batch.teacher.embedding[:, :6], one.embedding[rows].float())
    assert torch.equal(batch.teacher.embedding[:, 6:], other.embedding[rows].float())


def test_it_waits_for_the_view_before_the_first_batch(batches):
    asked = []
    next(batches(wait=asked.append).epoch(5))
    assert asked == [1]


def test_fresh_batches_are_augmented_anew_in_each_epoch(fresh):
    first, second = list(fresh.epoch(0)), list(fresh.epoch(1))
    assert equal(first, list(fresh.epoch(0)))
    by_image = [
        torch.cat([batch.images for batch in batches])[torch.cat(shuffled(40, 3, 3, epoch)).argsort()]
        for epoch, batches in enumerate((first, second))
    ]
    assert (by_image[0] != by_image[1]).flatten(1).any(1).sum() > 30


def test_a_derived_seed_depends_on_all_its_parts():
    seeds = {
        derived_seed(*parts) for parts in [(0, "order", 1), (0, "order", 2), (1, "order", 1), (0, "trial", 1)]
    }
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(0, "order", 1) == derived_seed(0, "order", 1)


@pytest.mark.parametrize("room", [True, False])
def test_a_training_settles_once_whether_its_views_move_to_its_device(bank, labels, room):
    there = labels.to("meta")  # a device that is not the CPU, on every machine, and has room for everything
    batches = ViewBatches(
        bank, there, 16, 3, teachers=["teacher"], reads=("logits",), wait=lambda number: None
    )
    next(batches.epoch(0))
    assert batches.resident
    batches.resident = room
    for epoch in range(3):
        for batch in batches.epoch(epoch):
            places = batch.images, batch.labels, batch.teacher.logits
            assert {tensor.device.type for tensor in places} == {"meta"}
    assert batches.resident == room


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_fresh_batches_are_augmented_on_the_labels_device(bank, labels, device):
    seen = []

    def augment(images, seed):
        seen.append(images.device.type)
        return images

    fresh = FreshBatches(bank.view(0).images.to(device), labels.to("meta"), augment, 16, seed=3)
    assert {batch.labels.device.type for batch in fresh.epoch(0)} == {"meta"}
    assert set(seen) == {"meta"}
