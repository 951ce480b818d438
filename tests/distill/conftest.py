import numpy as np
import pytest
import torch

from kdsearch.outputs import Outputs, Shapes

IMAGES, CLASSES = 6, 5
LABELS = np.arange(IMAGES) % CLASSES
STEP = 1e-6


def answers(field, values):
    tensor = torch.as_tensor(values, dtype=torch.float32)
    return Outputs(torch.empty(0), torch.empty(0), {})._replace(**{field: tensor})


@pytest.fixture
def agrees():
    """Checks a loss against a formula in float64: the summed parts, and their gradient by finite differences.

    `formula` takes the student's and the teacher's values and the labels.
    """

    def check(loss, formula, field, widths=(CLASSES, CLASSES), seed=0):
        drawn = np.random.default_rng(seed)
        ours, theirs = (drawn.normal(0, 2, (IMAGES, width)) for width in widths)
        student = answers(field, ours)
        values = getattr(student, field).requires_grad_()
        total = sum(loss(student, answers(field, theirs), torch.from_numpy(LABELS)).values())
        total.backward()
        assert total.item() == pytest.approx(formula(ours, theirs, LABELS), rel=1e-4)
        slopes = np.empty_like(ours)
        for place in np.ndindex(ours.shape):
            nudge = np.zeros_like(ours)
            nudge[place] = STEP
            up, down = (formula(ours + sign * nudge, theirs, LABELS) for sign in (1, -1))
            slopes[place] = (up - down) / (2 * STEP)
        size = np.abs(slopes).max()
        np.testing.assert_allclose(values.grad.numpy(), slopes, rtol=1e-3, atol=1e-4 * size)

    return check


@pytest.fixture
def made():
    """A loss of that class with these settings."""

    def make(kind, **settings):
        shapes = Shapes(CLASSES, CLASSES, {})
        return kind(kind.Config(**settings), shapes, shapes)

    return make
