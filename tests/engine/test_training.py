import math

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from kdsearch.engine.training import InterruptedTrainingError
from kdsearch.models.student import as_input


def finish(training):
    for _ in training:
        pass
    return training


def test_the_same_seed_gives_the_same_numbers(training, numbers):
    assert numbers(finish(training())) == numbers(finish(training()))


def test_another_seed_gives_another_dropout(training, numbers):
    assert numbers(finish(training(seed=1))) != numbers(finish(training()))


def test_other_random_numbers_drawn_in_between_change_nothing(training, numbers):
    disturbed = training()
    for _ in disturbed:
        torch.rand(5)
    assert numbers(disturbed) == numbers(finish(training()))


def test_a_training_leaves_the_global_generator_as_it_was(training):
    before = torch.get_rng_state()
    finish(training())
    assert torch.equal(torch.get_rng_state(), before)


def test_two_trainings_in_turn_do_not_disturb_each_other(training, numbers):
    one, other = training(), training(seed=1, optimizer="sgd")
    for _ in zip(one, other, strict=True):
        pass
    assert numbers(one) == numbers(finish(training()))
    assert numbers(other) == numbers(finish(training(seed=1, optimizer="sgd")))


def test_it_yields_one_result_an_epoch(training):
    run = training()
    assert [result.epoch for result in run] == [0, 1, 2]
    assert list(run) == []
    assert run.last is run.results[-1]
    assert set(run.last.parts) == {"ce", "kl", "regressed"}


def test_stop_is_heard_before_the_next_step(training):
    left = iter([False] * 4 + [True])
    run = training(stop=lambda: next(left))
    assert next(iter(run)).epoch == 0
    with pytest.raises(InterruptedTrainingError, match=r"^stopped in epoch 1, step 1$"):
        next(iter(run))


def test_the_train_loss_is_the_mean_over_images_not_over_batches(training):
    run = training(losses=False, batch_size=24, ema_epochs=0.0, epochs=1, label_smoothing=0.0)
    expected = []
    with torch.random.fork_rng():
        torch.set_rng_state(run.random)
        replica = training(losses=False, batch_size=24, ema_epochs=0.0, epochs=1)
        replica.network.train()
        for batch in replica.batches.epoch(0):
            logits = replica.network(as_input(batch.images)).logits
            expected += cross_entropy(logits, batch.labels, reduction="none").tolist()
            cross_entropy(logits, batch.labels).backward()
            replica.optimizer.step()
            replica.optimizer.zero_grad()
            replica.schedule.step()
    [result] = run
    assert result.train_loss == pytest.approx(sum(expected) / 40, rel=1e-5)
    assert result.parts == {"ce": result.train_loss}


def test_the_learning_rate_of_a_result_is_that_of_its_last_step(training):
    run = training(warmup=0.0, ema_epochs=0.0)
    rates = [result.learning_rate for result in run]
    assert rates == pytest.approx([0.02 * (1 + math.cos(math.pi * step / 9)) / 2 for step in (2, 5, 8)])


def test_without_averaging_the_network_itself_is_final(training):
    run = finish(training(ema_epochs=0.0))
    assert run.average is None
    assert run.final is run.network


class Reads(TorchDispatchMode):
    """Counts how often a tensor's number is asked for: on a GPU each such question waits for it."""

    count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.count += operation is torch.ops.aten._local_scalar_dense.default
        return operation(*args, **(kwargs or {}))


def test_numbers_are_read_once_an_epoch_however_many_steps_it_has(training):
    counts = []
    for batch_size in (20, 4):
        run = training(batch_size=batch_size, epochs=1)
        with Reads() as reads:
            finish(run)
        counts.append(reads.count)
    assert counts[0] == counts[1] <= 2


def test_the_last_epochs_have_an_optimizer_and_a_constant_rate_of_their_own(training):
    run = training(
        schedule="constant", warmup=0.0, finish_epochs=1, finish_optimizer="sgd", finish_rate=0.003
    )
    seen = [(type(run.optimizer), result.learning_rate) for result in run]
    assert seen == [(AdamW, 0.02), (AdamW, 0.02), (SGD, 0.003)]
    assert run.optimizer.param_groups[0]["weight_decay"] == 0


def test_the_schedule_of_the_first_epochs_ends_with_them(training, numbers):
    def weights(run):
        return [parameter.tolist() for parameter in run.network.parameters()]

    alone, first = training(epochs=2), training(finish_epochs=1)
    for _ in alone:
        pass
    epochs = iter(first)
    next(epochs), next(epochs)
    assert weights(first) == weights(alone)


class Waits(TorchFunctionMode):
    """Counts what a host waits for its GPU for: values that leave a tensor."""

    LEAVING = frozenset({"item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__"})

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.count += getattr(function, "__name__", "") in self.LEAVING
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "muon"])
def test_values_leave_the_device_once_an_epoch_however_many_steps_it_has(training, optimizer):
    counts = []
    for batch_size in (20, 4):
        run = iter(training(batch_size=batch_size, optimizer=optimizer))
        next(run)
        with Waits() as waits:
            next(run)
        counts.append(waits.count)
    assert counts == [4, 4]  # the order's windows, the images, the means of training, the score


def test_clipping_bounds_the_whole_gradient_with_that_of_the_regressors(training):
    run = training(epochs=1, batch_size=40, clip=0.01)
    finish(run)
    learned = [*run.network.parameters(), *run.objective.parameters()]
    norm = torch.stack([parameter.grad.norm() for parameter in learned]).norm()
    assert norm.item() == pytest.approx(0.01, rel=1e-4)
    assert all(parameter.grad.norm() > 0 for parameter in run.objective.parameters())


def test_alpha_falls_with_the_square_of_the_epoch(training):
    run = training(alpha_schedule="falling", batch_size=40)
    for result, alpha in zip(run, [0.5, 0.5 * 8 / 9, 0.5 * 5 / 9], strict=True):
        taught = result.parts["kl"] + result.parts["regressed"]
        assert result.train_loss == pytest.approx((1 - alpha) * result.parts["ce"] + alpha * taught, rel=1e-5)


def test_norms_and_biases_have_no_weight_decay_unless_the_study_says_so(training):
    decayed = training(optimizer="sgd", decay_norms=True).optimizer.param_groups
    assert len(decayed) == 1
    weights, others = training(optimizer="sgd", decay_norms=False).optimizer.param_groups
    assert weights["weight_decay"] > 0 == others["weight_decay"]
    assert {each.dim() for each in weights["params"]} == {2, 4}
    assert {each.dim() for each in others["params"]} == {1}
    assert len(decayed[0]["params"]) == len(weights["params"]) + len(others["params"])
