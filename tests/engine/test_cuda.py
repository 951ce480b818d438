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
