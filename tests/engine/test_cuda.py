"""What a CPU cannot show; skipped by name without a GPU."""

from functools import partial

import pytest
import torch

from kdsearch.device import has_room, placed, seeded, share
from kdsearch.engine.checkpoint import Checkpoint
from kdsearch.engine.evaluate import evaluate
from kdsearch.engine.lean import give_memory_back

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(autouse=True)
def deterministic():
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def answer(net, images):
    return net(images)


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


def test_a_view_that_fits_lies_on_the_device_and_another_one_gives_the_same_batches(training):
    batches = training(device="cuda").batches
    resident = list(batches.epoch(0))
    assert batches.resident
    gathered = training(device="cuda").batches
    gathered.resident = False
    assert gathered._placed(gathered.bank.view(0)) is gathered.bank.view(0)
    for one, other in zip(resident, gathered.epoch(0), strict=True):
        assert {one.images.device.type, other.images.device.type} == {"cuda"}
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.teacher.logits, other.teacher.logits)


def test_validation_images_that_did_not_fit_give_the_same_scores(training, numbers):
    resident, other = training(device="cuda"), training(device="cuda")
    other.validation = other.validation._replace(images=other.validation.images.cpu())
    assert numbers(finish(other)) == numbers(finish(resident))


def test_scores_are_those_of_float32(training, validation):
    run = finish(training(device="cuda"))
    here = evaluate(run.final, answer, *(tensor.cuda() for tensor in validation))
    there = evaluate(run.final.cpu(), answer, *validation)
    assert here.loss == pytest.approx(there.loss, rel=1e-5)
    assert here.accuracy == there.accuracy


def test_a_checkpoint_is_continued_on_its_own_kind_of_device_alone(training, tmp_path, numbers):
    said = []
    checkpoint = Checkpoint(tmp_path / "slot-0-0.safetensors", "key", said.append)
    run = training(device="cuda")
    next(iter(run))
    checkpoint.save(run, now=True)
    begun = checkpoint.resume(training)
    assert numbers(finish(begun)) == numbers(finish(training()))
    assert "cuda; this is format" in said[0]
    resumed = checkpoint.resume(partial(training, seed=1, weights=1, device="cuda"))
    assert len(resumed.results) == 1
    assert numbers(finish(resumed)) == numbers(finish(training(device="cuda")))


def test_random_numbers_of_one_device_leave_the_others_alone():
    device = torch.device("cuda", torch.cuda.device_count() - 1)
    before = [torch.cuda.get_rng_state(number) for number in range(torch.cuda.device_count())]
    drawn = []
    for _ in range(2):
        with seeded(3, device):
            drawn.append(torch.rand(2, device=device))
    assert torch.equal(*drawn)
    for number, state in enumerate(before):
        assert torch.equal(torch.cuda.get_rng_state(number), state)


def test_what_the_allocator_holds_counts_as_free():
    device = torch.device("cuda", torch.cuda.current_device())
    size = torch.cuda.mem_get_info(device)[0] // 4
    assert has_room(device, size)
    held = torch.empty(3 * size, dtype=torch.uint8, device=device)
    assert not has_room(device, size)
    del held
    assert has_room(device, size)
    give_memory_back()
    assert torch.cuda.memory_reserved(device) < size


def test_images_stay_where_they_are_without_room():
    """`auto` and `cuda` name no number, and one of the calls that ask for the memory takes none without."""
    device = torch.device("cuda")
    large = torch.empty(torch.cuda.mem_get_info(device)[1], dtype=torch.uint8, device="meta")
    assert placed(large, device) is large
    assert placed(torch.zeros(4, dtype=torch.uint8), device).is_cuda


def test_a_worker_s_share_of_a_gpu_is_its_limit():
    device = torch.device("cuda", torch.cuda.current_device())
    total = torch.cuda.mem_get_info(device)[1]
    share(device, 4)
    try:
        assert not has_room(device, total // 8 + 1)
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(total // 3, dtype=torch.uint8, device=device)
    finally:
        share(device, 1)
