import pytest
import torch

from kdsearch.device import CPU, autocast, choose_device, describe, exact, forked, has_room, placed, seeded
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


GIB = 2**30


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
def test_a_process_has_room_in_half_of_what_it_may_still_take(two_gpus, monkeypatch, memory, workers, room):
    free, reserved, used = memory
    facts = {
        "mem_get_info": (free * GIB, 80 * GIB),
        "memory_reserved": reserved * GIB,
        "memory_allocated": used * GIB,
        "get_per_process_memory_fraction": 1 / workers,
    }
    for name, fact in facts.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, fact=fact: fact)
    gpu = torch.device("cuda", 1)
    assert has_room(gpu, room * GIB)
    assert not has_room(gpu, room * GIB + 1)
    assert has_room(CPU, 2**60)


def test_a_gpu_without_a_number_is_asked_for_by_the_current_one(two_gpus, monkeypatch):
    """`auto` and `cuda` have none, and of these calls one takes no device without it."""
    asked = []
    facts = {"mem_get_info": (GIB, GIB), "memory_reserved": 0, "memory_allocated": 0}
    for name, fact in facts.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, fact=fact: fact)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(
        torch.cuda, "get_per_process_memory_fraction", lambda index: asked.append(index) or 1.0
    )
    assert has_room(torch.device("cuda"), GIB // 2)
    assert asked == [1]


def test_images_stay_where_they_are_without_room(two_gpus, monkeypatch):
    images = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
    monkeypatch.setattr("kdsearch.device.has_room", lambda device, size: size < 12)
    assert placed(images, torch.device("cuda", 1)) is images
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
