"""DM's formula, written out in float64."""

import numpy as np
import pytest
import torch

from kdsearch.distill.dm import DM
from kdsearch.outputs import Outputs


def euclidean(a, b):
    return np.linalg.norm(a - b) if (a != b).any() else 0.0


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def formula(measure, weight):
    def of(student, teacher, labels):
        ours, theirs = (
            np.array([[measure(a, b) for a in rows] for b in rows]) for rows in (student, teacher)
        )
        return weight * np.mean((ours - theirs) ** 2)

    return of


@pytest.mark.parametrize(("metric", "measure"), [("euclidean", euclidean), ("cosine", cosine)])
@pytest.mark.parametrize("widths", [(4, 4), (4, 9)])
def test_it_equals_the_formula(agrees, made, metric, measure, widths):
    agrees(made(DM, metric=metric, weight=3.0), formula(measure, 3.0), "embedding", widths)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_equal_embeddings_have_a_finite_gradient(made, metric):
    same = torch.ones(4, 3, requires_grad=True)
    teacher = Outputs(torch.empty(0), torch.randn(4, 3), {})
    made(DM, metric=metric)(Outputs(torch.empty(0), same, {}), teacher, torch.arange(4))["dm"].backward()
    assert same.grad.isfinite().all()
