import pytest
import torch

from kdsearch.device import (
    CPU,
    Memory,
    autocast,
    choose_device,
    describe,
    exact,
    forked,
    has_room,
    placed,
    seeded,
)
from kdsearch.errors import UsageError


def test_auto_is_cuda_where_there_is_one():
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "", "mps", "meta", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there_is_one_line(name):
    with pytest.raises(UsageError, match=f"^--device {name}: ") as told:
        choose_device(name)
    assert "\n" not in str(told.value)


def test_a_cpu_computes_in_float32():
    with autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert describe(torch.device("cpu")) == "cpu"


def test_seeded_numbers_repeat_and_leave_no_trace():
    before = torch.get_rng_state()
    drawn = []
    for _ in range(2):
        with seeded(3):
            drawn.append(torch.rand(2))
    with forked(CPU):
        torch.rand(5)
    assert torch.equal(*drawn)
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_are_those_of_torch():
    with seeded(3):
        drawn = torch.rand(2)
    with forked(CPU):
        torch.manual_seed(3)
        assert torch.equal(torch.rand(2), drawn)


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine with two, as far as one can be told without any: whatever starts CUDA fails."""
    if torch.cuda.is_available():
        pytest.skip("of a machine without a GPU; tests/engine/test_cuda.py has the others")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_on_the_cpu_random_numbers_touch_no_gpu(two_gpus):
    with seeded(3), forked(CPU):
        torch.rand(2)
    assert not torch.cuda.is_initialized()


def test_a_gpu_that_is_named_becomes_the_process_s_own(two_gpus, monkeypatch):
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    for name in ("cuda:1", "cuda", "cpu"):
        choose_device(name)
    assert current == [torch.device("cuda", 1)]


@pytest.mark.parametrize(
    ("memory", "workers", "room"),
    [
        ((80, 0, 0), 1, 40),
        ((60, 20, 0), 1, 40),  # what the allocator holds and does not use is free
        ((60, 20, 20), 1, 30),
        ((80, 0, 0), 2, 20),
        ((60, 20, 4), 2, 18),
        ((10, 0, 0), 2, 5),  # somebody else has the rest
    ],
)
def test_a_process_has_room_in_half_of_what_it_may_still_take(memory, workers, room):
    free, reserved, used = memory
    assert Memory(free, 80, reserved, used, 1 / workers).room == room


def test_the_cpu_has_room_for_everything():
    images = torch.empty(2**50, dtype=torch.uint8, device="meta")
    assert has_room(CPU, images.nbytes)
    assert placed(images[:2], torch.device("meta")).device.type == "meta"


def test_scores_are_float32_in_full_on_a_gpu_and_nothing_changes_on_the_cpu():
    flags = torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    with exact(torch.device("cuda")):
        assert not torch.backends.cudnn.allow_tf32
        assert flags == (
            torch.backends.cudnn.enabled,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
        )
    with exact(CPU):
        assert torch.backends.cudnn.allow_tf32
