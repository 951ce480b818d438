import time
from itertools import product

import pytest
from safetensors.torch import save_file

from kdsearch.engine.checkpoint import EVERY, Checkpoint
from kdsearch.engine.training import InterruptedTrainingError

STEPS = 9
CONFIGS = [
    {"optimizer": optimizer, "schedule": schedule, "ema_epochs": ema_epochs}
    for optimizer, schedule, ema_epochs in product(("adamw", "sgd"), ("cosine", "onecycle"), (0.0, 0.5))
] + [{"optimizer": "adamw", "finish_epochs": epochs, "finish_optimizer": "sgd"} for epochs in (1, 2)]


def finish(training):
    for _ in training:
        pass
    return training


@pytest.fixture
def checkpoint(tmp_path):
    def make(key="a"):
        return Checkpoint(tmp_path / "state" / "slot-0-0.safetensors", key)

    return make


@pytest.fixture
def interrupted(training, checkpoint):
    """A training that was stopped before a step, and saved."""

    def make(step, **config):
        left = iter([False] * step + [True])
        run = training(stop=lambda: next(left), **config)
        with pytest.raises(InterruptedTrainingError):
            finish(run)
        checkpoint().save(run, now=True)
        return run

    return make


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: "-".join(map(str, config.values())))
def test_stopped_before_any_step_and_resumed_equals_uninterrupted(
    training, interrupted, checkpoint, numbers, config
):
    uninterrupted = numbers(finish(training(**config)))
    for step in range(STEPS):
        interrupted(step, **config)
        resumed = training(seed=1, weights=1, **config)  # all comes from the file
        assert checkpoint().resume(resumed)
        assert numbers(finish(resumed)) == uninterrupted, step


def test_it_may_be_stopped_after_every_step(training, checkpoint, numbers):
    for step in range(STEPS):
        left = iter([False, True])
        run = training(stop=lambda left=left: next(left))
        assert checkpoint().resume(run) == (step > 0)
        if step < STEPS - 1:
            with pytest.raises(InterruptedTrainingError):
                finish(run)
            checkpoint().save(run, now=True)
    assert numbers(finish(run)) == numbers(finish(training()))


def test_saved_between_epochs_it_goes_on_with_the_next(training, checkpoint, numbers):
    run = training()
    next(iter(run))
    checkpoint().save(run, now=True)
    resumed = training(weights=1)
    assert checkpoint().resume(resumed)
    assert [result.epoch for result in resumed] == [1, 2]
    assert numbers(resumed) == numbers(finish(training()))


def test_a_finished_training_has_nothing_left(training, checkpoint):
    checkpoint().save(finish(training()), now=True)
    resumed = training()
    assert checkpoint().resume(resumed)
    assert list(resumed) == []
    assert resumed.last.epoch == 2


def test_without_a_file_a_training_begins(training, checkpoint):
    assert not checkpoint().resume(training())


def test_the_file_of_another_trial_config_is_ignored(training, interrupted, checkpoint, numbers):
    interrupted(4)
    run = training()
    assert not checkpoint("b").resume(run)
    assert numbers(finish(run)) == numbers(finish(training()))


@pytest.mark.parametrize("kept", [0, 4, 100, 2000, -1])
def test_a_file_cut_short_is_ignored(training, interrupted, checkpoint, numbers, kept):
    interrupted(4)
    path = checkpoint().path
    path.write_bytes(path.read_bytes()[:kept])
    run = training()
    assert not checkpoint().resume(run)
    assert numbers(finish(run)) == numbers(finish(training()))


def test_a_file_of_something_else_is_ignored(training, checkpoint):
    checkpoint().path.parent.mkdir()
    save_file({"x": training().random}, checkpoint().path)
    assert not checkpoint().resume(training())


def test_it_is_written_at_most_every_thirty_seconds(training, checkpoint, monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    saving, run = checkpoint(), training()
    saving.save(run)
    assert not saving.path.exists()
    now += EVERY
    saving.save(run)
    written = saving.path.stat().st_mtime_ns
    now += EVERY - 1
    saving.save(run)
    assert saving.path.stat().st_mtime_ns == written


def test_nothing_but_the_file_is_left_and_it_can_be_removed_twice(interrupted, checkpoint):
    interrupted(4)
    assert list(checkpoint().path.parent.iterdir()) == [checkpoint().path]
    checkpoint().remove()
    checkpoint().remove()
    assert list(checkpoint().path.parent.iterdir()) == []
