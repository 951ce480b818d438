import json
from functools import partial
from itertools import product

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from kdsearch.engine.checkpoint import EVERY, Checkpoint, _checksum
from kdsearch.engine.training import InterruptedTrainingError

STEPS = 9
CONFIGS = [
    {"optimizer": optimizer, "schedule": schedule, "ema_epochs": ema_epochs}
    for optimizer, schedule, ema_epochs in product(("adamw", "sgd"), ("cosine", "onecycle"), (0.0, 0.5))
] + [{"optimizer": "adamw", "finish_epochs": epochs, "finish_optimizer": "sgd"} for epochs in (1, 2)]
CONFIGS += [
    {"optimizer": "muon", "schedule": "cosine", "decay_norms": False, "clip": 0.1},
    {"optimizer": "muon", "schedule": "onecycle"},
    {"optimizer": "sgd", "decay_norms": False, "clip": 0.1},
    {"optimizer": "adamw", "alpha_schedule": "falling"},
    {"optimizer": "muon", "finish_epochs": 1, "decay_norms": False},
]


def finish(training):
    for _ in training:
        pass
    return training


@pytest.fixture
def said():
    """What the user is told."""
    return []


@pytest.fixture
def checkpoint(tmp_path, said):
    def make(key="a", **times):
        return Checkpoint(tmp_path / "state" / "slot-0-0.safetensors", key, said.append, **times)

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
        resumed = checkpoint().resume(partial(training, seed=1, weights=1, **config))  # all is the file's
        assert numbers(finish(resumed)) == uninterrupted, step


def test_it_may_be_stopped_after_every_step(training, checkpoint, numbers):
    for step in range(STEPS):
        left = iter([False, True])
        run = checkpoint().resume(partial(training, stop=lambda left=left: next(left)))
        assert (run.step + 3 * len(run.results)) == step
        if step < STEPS - 1:
            with pytest.raises(InterruptedTrainingError):
                finish(run)
            checkpoint().save(run, now=True)
    assert numbers(finish(run)) == numbers(finish(training()))


def test_saved_between_epochs_it_goes_on_with_the_next(training, checkpoint, numbers):
    run = training()
    next(iter(run))
    checkpoint().save(run, now=True)
    resumed = checkpoint().resume(partial(training, weights=1))
    assert [result.epoch for result in resumed] == [1, 2]
    assert numbers(resumed) == numbers(finish(training()))


def test_a_finished_training_has_nothing_left(training, checkpoint):
    checkpoint().save(finish(training()), now=True)
    resumed = checkpoint().resume(training)
    assert list(resumed) == []
    assert resumed.last.epoch == 2


def test_without_a_file_a_training_begins_and_nothing_is_said(training, checkpoint, numbers, said):
    assert numbers(finish(checkpoint().resume(training))) == numbers(finish(training()))
    assert said == []


def test_the_file_of_another_trial_config_is_ignored(training, interrupted, checkpoint, numbers, said):
    interrupted(4)
    assert numbers(finish(checkpoint("b").resume(training))) == numbers(finish(training()))
    assert said == []


def test_a_file_of_something_else_is_ignored(training, checkpoint):
    checkpoint().path.parent.mkdir()
    save_file({"x": training().random}, checkpoint().path)
    assert checkpoint().resume(training).step == 0


@pytest.fixture
def edit(checkpoint):
    """Writes the file anew with other tensors or other metadata; `proved` with a checksum that fits."""

    def write(change, *, proved):
        path = checkpoint().path
        with safe_open(path, framework="pt") as file:
            metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        change(tensors, metadata)
        if proved:
            metadata["checksum"] = _checksum(tensors, metadata["rest"])
        save_file(tensors, path, metadata)

    return write


def without(name):
    return lambda tensors, metadata: tensors.pop(name)


def other(name, change):
    return lambda tensors, metadata: tensors.update({name: change(tensors[name])})


def said_otherwise(**values):
    return lambda tensors, metadata: metadata.update(values)


def as_format_1(tensors, metadata):
    del metadata["writer"], metadata["checksum"]


def cuda_s_random_state(tensors, metadata):
    as_format_1(tensors, metadata)
    tensors["random/state"] = torch.zeros(16, dtype=torch.uint8)


def without_a_learning_rate(tensors, metadata):
    rest = json.loads(metadata["rest"])
    del rest["groups"]
    metadata["rest"] = json.dumps(rest)


PROVED = {  # as another version would write it, whole in itself
    "of CUDA": said_otherwise(writer="format 2, torch 9.9, cuda"),
    "of format 1, on CUDA": cuda_s_random_state,
    "broken JSON": said_otherwise(rest='{"step": 1, '),
    "JSON of something else": said_otherwise(rest="[]"),
    "results that are none": said_otherwise(rest='{"step": 1, "results": [{"epoch": 0}]}'),
    "no groups": without_a_learning_rate,
    "no random state": without("random/state"),
    "a random state of floats": other("random/state", lambda tensor: tensor.float()),
    "a weight missing": without("network/head.weight"),
    "a weight of another shape": other("network/head.weight", lambda tensor: tensor[:2].clone()),
    "a moment of another shape": other("optimizer/0.exp_avg", lambda tensor: tensor[:2].clone()),
    "a moment of no parameter": lambda tensors, _: tensors.update({"optimizer/99.exp_avg": torch.ones(3)}),
    "a name without a group": lambda tensors, _: tensors.update({"x": torch.ones(3)}),
}
DAMAGED = {
    "a weight changed": other("network/head.weight", lambda tensor: tensor + 1),
    "a moment missing": without("optimizer/0.exp_avg"),
    "an epoch changed": lambda _, meta: meta.update(rest=meta["rest"].replace('"step": 1', '"step": 2')),
    "no checksum": lambda _, metadata: metadata.pop("checksum"),
}


@pytest.fixture
def begins_anew(training, checkpoint, numbers, said):
    """Whether what is resumed from the file trains as if there were none, and one line says so."""

    def check():
        before = torch.get_rng_state()
        assert numbers(finish(checkpoint().resume(training))) == numbers(finish(training()))
        assert torch.equal(torch.get_rng_state(), before)
        assert len(said) == 1
        assert said[0].startswith(f"{checkpoint().path}: cannot be used (")
        assert said[0].endswith("; the trial begins anew")
        assert "\n" not in said[0]

    return check


@pytest.mark.parametrize("how", [*PROVED, *DAMAGED])
def test_a_file_that_cannot_be_used_means_to_begin_anew(interrupted, edit, begins_anew, how):
    interrupted(4)
    edit({**PROVED, **DAMAGED}[how], proved=how in PROVED)
    begins_anew()


@pytest.mark.parametrize("kept", [0, 4, 100, 2000, -1])
def test_a_file_cut_short_means_to_begin_anew(interrupted, checkpoint, begins_anew, kept):
    interrupted(4)
    path = checkpoint().path
    path.write_bytes(path.read_bytes()[:kept])
    begins_anew()


def test_a_file_of_the_version_before_is_continued(training, interrupted, checkpoint, edit, numbers):
    interrupted(4)
    edit(as_format_1, proved=False)
    run = checkpoint().resume(partial(training, seed=1, weights=1))
    assert (len(run.results), run.step) == (1, 1)
    assert numbers(finish(run)) == numbers(finish(training()))


def test_a_folder_in_the_file_s_place_means_to_begin_anew(training, checkpoint, said):
    checkpoint().path.mkdir(parents=True)
    assert checkpoint().resume(training).step == 0
    assert len(said) == 1


def test_a_file_that_cannot_be_written_does_not_end_the_training(training, checkpoint, numbers, said):
    checkpoint().path.parent.write_text("in the folder's place")
    run, saving = training(), checkpoint(every=0.0)
    for _ in run:
        saving.save(run)
    assert numbers(run) == numbers(finish(training()))
    line = f"{saving.path.parent}: no checkpoint can be written (File exists); training goes on without one"
    assert said == [line] * 3


@pytest.mark.parametrize(("epochs", "from_where"), [(0, "its beginning"), (1, "its checkpoint of epoch 1")])
def test_a_full_disk_leaves_the_earlier_file_and_says_from_where_the_trial_resumes(
    training, checkpoint, said, epochs, from_where
):
    run, saving = training(), checkpoint()
    saving.path.parent.mkdir()
    for _ in range(epochs):
        next(iter(run))
        saving.save(run, now=True)
    earlier = saving.path.read_bytes() if epochs else None
    saving.part.symlink_to("/dev/full")
    saving.save(run, now=True)
    why = "the trial could not be saved (No space left on device)"
    assert said == [f"{saving.path}: {why}; it resumes from {from_where}"]
    assert [path for path in saving.path.parent.iterdir() if path != saving.path] == []
    assert (saving.path.read_bytes() if epochs else None) == earlier


def test_it_is_written_at_most_every_thirty_seconds(training, checkpoint):
    now = 1000.0
    saving, run = checkpoint(clock=lambda: now), training()
    saving.save(run)
    assert not saving.path.exists()
    now += EVERY
    saving.save(run)
    written = saving.path.stat().st_mtime_ns
    now += EVERY - 1
    saving.save(run)
    assert saving.path.stat().st_mtime_ns == written


def test_nothing_but_the_file_is_left(interrupted, checkpoint):
    interrupted(4)
    assert list(checkpoint().path.parent.iterdir()) == [checkpoint().path]
