"""KL's formula, written out in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kdsearch.distill.kl import KL
from kdsearch.outputs import Outputs, Shapes

SHAPES = Shapes(7, 1, {})
DRAWN = np.random.default_rng(0)
STUDENT, TEACHER = DRAWN.normal(0, 3, (2, 5, 7))
TEMPERATURES = pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])


def softmax(logits, temperature):
    scaled = np.exp((logits - logits.max(1, keepdims=True)) / temperature)
    return scaled / scaled.sum(1, keepdims=True)


def formula(student, teacher, temperature):
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    return temperature**2 * np.mean([sum(p[i] * np.log(p[i] / q[i])) for i in range(len(p))])


def answers(logits):
    return Outputs(torch.as_tensor(logits, dtype=torch.float32), torch.empty(0), {})


def kl(student, teacher, temperature):
    loss = KL(KL.Config(temperature=temperature), SHAPES, SHAPES)
    return loss(answers(student), answers(teacher), torch.empty(0))["kl"].item()


@TEMPERATURES
def test_it_equals_the_formula(temperature):
    assert kl(STUDENT, TEACHER, temperature) == pytest.approx(
        formula(STUDENT, TEACHER, temperature), rel=1e-5
    )


@TEMPERATURES
def test_its_gradient_equals_finite_differences_of_the_formula(temperature):
    logits = torch.tensor(STUDENT, dtype=torch.float32, requires_grad=True)
    loss = KL(KL.Config(temperature=temperature), SHAPES, SHAPES)
    loss(answers(STUDENT)._replace(logits=logits), answers(TEACHER), torch.empty(0))["kl"].backward()
    step = 1e-6
    for place in np.ndindex(STUDENT.shape):
        nudge = np.zeros_like(STUDENT)
        nudge[place] = step
        up, down = (formula(STUDENT + sign * nudge, TEACHER, temperature) for sign in (1, -1))
        assert logits.grad[place].item() == pytest.approx((up - down) / (2 * step), rel=1e-3, abs=1e-5)


def test_it_is_nothing_where_logits_differ_by_a_constant():
    assert kl(TEACHER + 5, TEACHER, 4.0) == pytest.approx(0, abs=1e-5)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 50), temperature=st.floats(1, 20))
def test_it_is_never_negative(seed, scale, temperature):
    student, teacher = np.random.default_rng(seed).normal(0, scale, (2, 4, 7))
    assert kl(student, teacher, temperature) >= -1e-5 * temperature**2


def test_the_gradient_keeps_its_size_when_the_temperature_grows():
    sizes = []
    for temperature in (20.0, 200.0):
        logits = torch.tensor(STUDENT, dtype=torch.float32, requires_grad=True)
        loss = KL(KL.Config(temperature=temperature), SHAPES, SHAPES)
        loss(answers(STUDENT)._replace(logits=logits), answers(TEACHER), torch.empty(0))["kl"].backward()
        sizes.append(logits.grad.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.2)


@pytest.mark.parametrize("temperature", [0, -1])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValidationError, match="greater than 0"):
        KL.Config(temperature=temperature)
