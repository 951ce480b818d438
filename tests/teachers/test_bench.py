import fcntl
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from kdsearch.cache import locked, making
from kdsearch.engine.training import InterruptedTrainingError, Training
from kdsearch.errors import CacheClearedError, CacheDamagedError
from kdsearch.models.measure import count_parameters, parameters_of
from kdsearch.models.student import as_input
from kdsearch.phases.bench import Bench, Prepared
from kdsearch.progress import Silence
from kdsearch.store.runs import SEARCH, Run
from kdsearch.study.architecture import Architecture
from kdsearch.study.trial_config import TrialConfig
from kdsearch.teachers.ready import prepare_teachers
from kdsearch.views.augment import Augmentation
from kdsearch.views.bank import Answering, ViewBank, open_view
from kdsearch.views.build import ViewBuilder

TEACHERS = {"teacher": {"embedding": 4}}
TIMES = {"seconds", "images_per_second", "finished_at"}


def add_view(bank, sets, number):
    """A view of the real images, as they are, with random answers."""
    random = np.random.default_rng(number)
    arrays = {
        "images": sets.train.images.numpy(),
        "teacher.logits": random.normal(size=(40, 10)).astype(np.float16),
        "teacher.embedding": random.normal(size=(40, 4)).astype(np.float16),
    }
    with making(bank.path(number), 0) as folder:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)


@pytest.fixture
def views(sets, tmp_path):
    bank = ViewBank(folder=tmp_path / "views", count=2, classes=10, teachers=TEACHERS)
    for number in range(2):
        add_view(bank, sets, number)
    return bank


@pytest.fixture
def bench(study, sets, record, views, tmp_path):
    def make(seed=0, bank=views, stop=lambda: False, maker=None, **tables):
        places = {"data": sets.folder, "bank": bank, "checkpoints": tmp_path / "state"}
        prepared = Prepared(**places, device="cpu", maker=maker or os.getpid())
        return Bench(study(seed=seed, **tables), prepared, record(), stop)

    return make


@pytest.fixture
def config():
    def make(bench, **training):
        student = bench.fitted(Architecture(stages=1).student({"kernel": 3}, 10, 8), fraction=0.05)
        settings = Training.Config(**({"epochs": 2, "batch_size": 20} | training))
        return TrialConfig(student=student, loss="kl", losses={"kl": {}}, alpha=0.5, training=settings)

    return make


def numbers(training):
    return [result.model_dump(exclude=TIMES) for result in training]


def test_what_was_prepared_survives_the_way_to_a_worker(sets, views, tmp_path):
    prepared = Prepared(data=sets.folder, bank=views, checkpoints=tmp_path, device="cpu")
    assert Prepared(**prepared.model_dump(mode="json")) == prepared


def test_a_student_gets_the_data_s_normalisation(bench, sets):
    for student in (Architecture(stages=1).student({}, 10, 8), Architecture(network="s4").published(10)):
        normalised = bench().normalised(student)
        assert (normalised.mean, normalised.std) == sets.train.mean_std()
        assert parameters_of(normalised) == parameters_of(student)


def test_a_published_network_that_does_not_fit_the_images_is_not_drawn(bench):
    networks = {"student": {"network": ["searched", "s0-first"]}}
    assert bench(**networks).study.student.possible("network") == ("searched",)


def test_a_slot_trains_the_same_each_time(bench, config):
    one, other = bench(), bench()
    trainings = [made.training(config(made), Run(SEARCH, 3, 1)) for made in (one, other)]
    assert count_parameters(trainings[0].network) == parameters_of(config(one).student)
    assert numbers(trainings[0]) == numbers(trainings[1])


@pytest.mark.parametrize("slot", [Run(SEARCH, 4, 1), Run(SEARCH, 3, 0)])
def test_another_slot_or_attempt_has_other_weights_and_the_same_data_order(bench, config, slot):
    made = bench()
    one, other = made.training(config(made), Run(SEARCH, 3, 1)), made.training(config(made), slot)
    weights = [training.network.head.weight for training in (one, other)]
    assert not torch.equal(*weights)
    orders = [torch.cat([batch.labels for batch in training.batches.epoch(1)]) for training in (one, other)]
    assert torch.equal(*orders)


def test_another_seed_of_the_study_has_other_weights_and_another_order(bench, config):
    one, other = bench(), bench(seed=1)
    trainings = [made.training(config(made), Run(SEARCH, 0, 0)) for made in (one, other)]
    assert not torch.equal(*(training.network.head.weight for training in trainings))
    orders = [torch.cat([batch.labels for batch in training.batches.epoch(0)]) for training in trainings]
    assert not torch.equal(*orders)


def test_a_slot_s_checkpoint_is_its_own(bench):
    made = bench()
    paths = {made.checkpoint(slot).path for slot in (Run(SEARCH, 0, 0), Run(SEARCH, 0, 1), Run(SEARCH, 1, 0))}
    assert len(paths) == 3
    assert made.checkpoint(Run(SEARCH, 0, 0), "key").key == f"{made.record.identity()} key"


def test_a_cache_that_was_cleared_is_no_endless_wait(bench, config, tmp_path):
    made = bench(bank=ViewBank(folder=tmp_path / "none", count=2, classes=10, teachers=TEACHERS))
    with pytest.raises(CacheClearedError, match="none: cleared during the search"):
        next(iter(made.training(config(made), Run(SEARCH, 0, 0))))


def test_the_time_that_training_takes_is_added_up(bench, config):
    made = bench()
    results = list(made.timed(made.training(config(made), Run(SEARCH, 0, 0))))
    assert len(results) == 2
    assert made.trained_seconds >= sum(result.seconds for result in results) > 0


def test_a_training_waits_for_the_next_view(bench, config, sets, tmp_path):
    bank = ViewBank(folder=tmp_path / "slow", count=2, classes=10, teachers=TEACHERS)
    add_view(bank, sets, 0)

    def stop():  # asked for before each of the two steps of an epoch, and while it waits
        asked.append(None)
        if len(asked) == 4:
            add_view(bank, sets, 1)
        return False

    asked = []
    made = bench(bank=bank, stop=stop)
    results = list(made.training(config(made), Run(SEARCH, 0, 0)))
    assert [result.epoch for result in results] == [0, 1]


@pytest.fixture
def ended():
    """The id of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_damaged_view_that_nobody_mends_ends_the_training_in_one_line(bench, config, views, ended, damage):
    damage(views.path(1) / "teacher.logits.npy")
    made = bench(maker=ended)
    epochs = iter(made.training(config(made), Run(SEARCH, 0, 0)))
    next(epochs)
    with pytest.raises(CacheDamagedError, match=r"damaged .*; the same command makes it anew") as told:
        next(epochs)
    assert "\n" not in str(told.value)


def test_a_view_that_vanished_and_that_nobody_makes_is_no_endless_wait(bench, config, views, ended):
    shutil.rmtree(views.path(1))
    made = bench(maker=ended)
    with pytest.raises(CacheClearedError, match="cleared during the search"):
        list(made.training(config(made), Run(SEARCH, 0, 0)))


def test_a_damaged_view_is_not_used_before_it_was_made_again(bench, config, sets, views):
    undisturbed = bench()
    expected = numbers(undisturbed.training(config(undisturbed), Run(SEARCH, 0, 0)))
    open_view.cache_clear()  # another process
    whole = (views.path(1) / "teacher.logits.npy").read_bytes()
    (views.path(1) / "teacher.logits.npy").write_bytes(whole[:-1] + b"0")

    def stop():  # asked for before each of the two steps of an epoch, and while it waits
        asked.append(None)
        if len(asked) == 4:
            shutil.rmtree(views.path(1))
            add_view(views, sets, 1)
        return False

    asked = []
    made = bench(stop=stop)
    assert numbers(made.training(config(made), Run(SEARCH, 0, 0))) == expected


def test_a_view_damaged_behind_its_living_maker_ends_the_training_at_once(bench, config, views, damage):
    damage(views.path(0) / "teacher.logits.npy")
    asked = []

    def stop():
        asked.append(None)
        return len(asked) > 20  # a second of waiting

    made = bench(stop=stop)
    with locked(views.path(1)), pytest.raises(CacheDamagedError, match=r"damaged .*; the same command"):
        next(iter(made.training(config(made), Run(SEARCH, 0, 0))))
    assert len(asked) == 2


def test_a_view_that_is_mapped_can_be_read_after_it_was_removed(bench, config, views):
    made = bench()
    views.view(0)
    views.view(1)
    expected = numbers(made.training(config(made), Run(SEARCH, 0, 0)))
    shutil.rmtree(views.path(0))
    shutil.rmtree(views.path(1))
    assert numbers(made.training(config(made), Run(SEARCH, 0, 0))) == expected


def test_what_a_living_worker_reads_is_held(bench, sets, views):
    bench()
    for folder in (sets.folder, views.folder):
        descriptor = os.open(folder, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)


def test_a_training_that_waits_for_a_view_can_be_stopped(bench, config, tmp_path):
    bank = ViewBank(folder=tmp_path / "none", count=2, classes=10, teachers=TEACHERS)
    made = bench(bank=bank, stop=lambda: True)
    with pytest.raises(InterruptedTrainingError, match="view 0"):
        next(iter(made.training(config(made), Run(SEARCH, 0, 0))))


def test_hints_come_from_the_teacher_that_the_trial_learns_from(bench, config, sets, views):
    tables = {
        "teachers": {"a": {}, "b": {"head": [16]}},
        "distillation": {"loss": ["kl", "at"]},
        "augmentation": {"crop": "none"},
    }
    first = bench(**tables)
    ready = prepare_teachers(first.study, sets, first.record, first.device, Silence())
    answering = {
        name: Answering(embedding=each.network.shapes.embedding, hints=each.network.shapes.hints)
        for name, each in ready.items()
    }
    bank = views.model_copy(update={"folder": views.folder.with_name("several"), "teachers": answering})
    augment = Augmentation(first.study.augmentation, 8)
    networks = {name: each.network for name, each in ready.items()}
    ViewBuilder(bank, sets.train.images, augment, networks, 0).build(0, Silence())
    made = bench(bank=bank, **tables)
    for name in ("b", "a"):
        taught = {"loss": "kl+at", "losses": {"kl": {}, "at": {}}, "teacher": name}
        training = made.training(config(made, epochs=1).model_copy(update=taught), Run(SEARCH, 0, 0))
        batch = next(training.batches.epoch(0))
        ready[name].network.watch_hints()
        own = ready[name].network.answer(as_input(batch.images))
        assert batch.teacher.hints.keys() == own.hints.keys()
        for layer, hint in own.hints.items():
            torch.testing.assert_close(batch.teacher.hints[layer], hint, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(batch.teacher.logits, own.logits, rtol=2e-3, atol=2e-3)
        assert next(iter(training)).parts["at"] >= 0
