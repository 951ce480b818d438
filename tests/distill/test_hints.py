"""The losses of feature maps, written out in float64."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from kdsearch.distill.at import AT
from kdsearch.distill.fitnet import FitNet
from kdsearch.distill.loss import layer_named, same_size
from kdsearch.distill.sp import SP
from kdsearch.outputs import Outputs, Shapes

STUDENT = Shapes(5, 4, {"stem": (2,), "stage1": (3,), "stage2": (4,)})
TEACHER = Shapes(5, 9, {"layer1": (6, 6, 6), "layer2": (7, 3, 3)})
DRAWN = np.random.default_rng(0)
OURS, THEIRS = DRAWN.normal(size=(3, 3, 6, 6)), DRAWN.normal(size=(3, 7, 3, 3))
STEP = 1e-6


def averaged(maps):
    return maps.reshape(*maps.shape[:2], 3, 2, 3, 2).mean((3, 5))


def attention(maps):
    flat = (maps**2).mean(1).reshape(len(maps), -1)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def similarity(maps):
    rows = maps.reshape(len(maps), -1)
    products = rows @ rows.T
    return products / np.linalg.norm(products, axis=1, keepdims=True)


def of_attention(ours):
    return 2.0 * np.mean((attention(averaged(ours)) - attention(THEIRS)) ** 2)


def of_similarity(ours):
    return 2.0 * np.mean((similarity(ours) - similarity(THEIRS)) ** 2)


def answers(name, maps):
    return Outputs(torch.empty(0), torch.empty(0), {name: torch.as_tensor(maps, dtype=torch.float32)})


def loss_of(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(kind.Config(weight=2.0, student_layer="stage1", teacher_layer="layer2"), STUDENT, TEACHER)


FITNET = loss_of(FitNet)
WEIGHT = FITNET.regressor.weight.detach().double().numpy()[:, :, 0, 0]
BIAS = FITNET.regressor.bias.detach().double().numpy()


def of_fitnet(ours):
    regressed = np.einsum("oc,bchw->bohw", WEIGHT, averaged(ours)) + BIAS[:, None, None]
    return 2.0 * np.mean((regressed - THEIRS) ** 2)


@pytest.mark.parametrize(
    ("loss", "formula"),
    [(FITNET, of_fitnet), (loss_of(AT), of_attention), (loss_of(SP), of_similarity)],
    ids=["fitnet", "at", "sp"],
)
def test_it_equals_the_formula_and_so_does_its_gradient(loss, formula):
    student = answers("stage1", OURS)
    maps = student.hints["stage1"].requires_grad_()
    total = sum(loss(student, answers("layer2", THEIRS), torch.arange(3)).values())
    total.backward()
    assert total.item() == pytest.approx(formula(OURS), rel=1e-4)
    slopes = np.empty_like(OURS)
    for place in np.ndindex(OURS.shape):
        nudge = np.zeros_like(OURS)
        nudge[place] = STEP
        slopes[place] = (formula(OURS + nudge) - formula(OURS - nudge)) / (2 * STEP)
    np.testing.assert_allclose(maps.grad.numpy(), slopes, rtol=1e-3, atol=1e-4 * np.abs(slopes).max())


def test_the_regressor_learns_beside_the_student():
    loss = loss_of(FitNet)
    assert sum(parameter.numel() for parameter in loss.parameters()) == 3 * 7 + 7
    sum(loss(answers("stage1", OURS), answers("layer2", THEIRS), torch.arange(3)).values()).backward()
    assert all(parameter.grad.any() for parameter in loss.parameters())


def test_layers_go_by_their_names_or_by_their_place():
    assert [layer_named(STUDENT.hints, name) for name in ("middle", "last", "stem")] == [
        "stage1",
        "stage2",
        "stem",
    ]
    with pytest.raises(ValueError, match="no layer 'stage3'; known: middle, last, stem, stage1, stage2"):
        layer_named(STUDENT.hints, "stage3")
    with pytest.raises(ValidationError, match="student_layer"):
        FitNet.Config(student_layer="layer1")


def test_the_larger_map_is_averaged_down():
    ours, theirs = same_size(torch.as_tensor(OURS), torch.as_tensor(THEIRS))
    assert ours.shape[2:] == theirs.shape[2:] == (3, 3)
    np.testing.assert_allclose(ours.numpy(), averaged(OURS), rtol=1e-5, atol=1e-6)
