"""What a CPU cannot show; skipped by name without a GPU."""

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(autouse=True)
def deterministic():
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def finish(training):
    for _ in training:
        pass
    return training


def test_bfloat16_trains_as_float32_does(training):
    cuda, cpu = finish(training(device="cuda", epochs=4)), finish(training(epochs=4))
    for fast, exact in zip(cuda.results, cpu.results, strict=True):
        assert fast.train_loss == pytest.approx(exact.train_loss, rel=0.1)
        assert fast.learning_rate == exact.learning_rate


def test_the_weights_stay_float32(training):
    run = finish(training(device="cuda"))
    assert {tensor.dtype for tensor in run.final.parameters()} == {torch.float32}
    assert {tensor.device.type for tensor in run.final.parameters()} == {"cuda"}


def test_the_same_seed_gives_the_same_numbers(training, numbers):
    assert numbers(finish(training(device="cuda"))) == numbers(finish(training(device="cuda")))


def test_a_training_leaves_the_global_generators_as_they_were(training):
    before = torch.cuda.get_rng_state(), torch.get_rng_state()
    finish(training(device="cuda"))
    assert torch.equal(torch.cuda.get_rng_state(), before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


def test_no_step_waits_for_the_device(training):
    run = training(device="cuda", epochs=2)
    next(iter(run))
    run.network.train()
    steps = run.batches.epoch(1)
    run._train(next(steps))  # a first step may set things up
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in steps:
            run._train(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert run.step == run.batches.steps


def test_a_view_that_fits_lies_on_the_device_and_another_one_gives_the_same_batches(training, monkeypatch):
    batches = training(device="cuda").batches
    resident = list(batches.epoch(0))
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (0, 0))
    assert batches._placed(batches.bank.view(0)) is batches.bank.view(0)
    for one, other in zip(resident, batches.epoch(0), strict=True):
        assert {one.images.device.type, other.images.device.type} == {"cuda"}
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.teacher.logits, other.teacher.logits)
