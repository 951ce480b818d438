"""A teacher whose body learns more slowly than its head, later, and from larger images."""

from itertools import pairwise

import pytest
import torch

from kdsearch.device import CPU
from kdsearch.outputs import Outputs
from kdsearch.progress import Silence
from kdsearch.teachers.taught import Lesson, _training


@pytest.fixture
def training(study, sets):
    def make(**teacher):
        lesson = Lesson(study(teacher=teacher), "teacher", sets, CPU, Silence())
        return _training(lesson, lesson.network())

    return make


def test_the_body_has_its_share_of_the_heads_learning_rate(training):
    made = training(body_rate=0.1, learning_rate=1e-2)
    head, body = made.optimizer.param_groups
    assert (head["initial_lr"], body["initial_lr"]) == pytest.approx((1e-2, 1e-3))
    assert head["weight_decay"] == body["weight_decay"] > 0
    of_head = {id(each) for each in made.network.net.get_submodule(made.network.head).parameters()}
    assert {id(each) for each in head["params"]} == of_head
    assert len(head["params"]) + len(body["params"]) == len(list(made.network.parameters()))


def test_with_one_rate_for_both_it_trains_as_any_network(training):
    assert len(training().optimizer.param_groups) == 1


def test_label_smoothing_reaches_the_objective(training):
    """Also of an answer that is quite sure and right."""
    sure = torch.nn.functional.one_hot(torch.arange(4), 4) * 20.0
    answer = Outputs(sure, sure, {})
    for smoothing in (0.0, 0.2):
        loss, _ = training(label_smoothing=smoothing).objective(answer, None, torch.arange(4))
        assert loss.item() == pytest.approx(0.75 * smoothing * 20, abs=1e-3)


def test_at_first_only_the_head_trains(training):
    made = training(freeze_epochs=1, epochs=2)
    states, epochs = [{key: t.clone() for key, t in made.network.state_dict().items()}], iter(made)
    for _ in range(2):
        next(epochs)
        states.append({key: t.clone() for key, t in made.network.state_dict().items()})
    changed = [
        {key for key in before if not torch.equal(before[key], after[key])}
        for before, after in pairwise(states)
    ]
    head = f"net.{made.network.head}."
    assert changed[0] == {key for key in states[0] if key.startswith(head)} != set()
    assert any("running_mean" in key for key in changed[1])
    assert any(key.endswith("conv.weight") or ".0.weight" in key for key in changed[1])
    assert all(parameter.requires_grad for parameter in made.network.parameters())


def test_it_trains_and_is_scored_at_its_own_size(training):
    made = training(image_size=16, epochs=1)
    sizes = set()
    made.network.register_forward_pre_hook(lambda net, images: sizes.add(tuple(images[0].shape[2:])))
    next(iter(made))
    assert sizes == {(16, 16)}
