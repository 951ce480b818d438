"""DKD's formula, written out in float64."""

import numpy as np
import pytest
import torch

from kdsearch.distill.dkd import DKD
from kdsearch.distill.kl import KL
from kdsearch.outputs import Outputs


def probabilities(logits, temperature):
    scaled = np.exp(logits / temperature)
    return scaled / scaled.sum()


def formula(temperature, target, others):
    def of(student, teacher, labels):
        found = []
        for ours, theirs, label in zip(student, teacher, labels, strict=True):
            p, q = probabilities(theirs, temperature), probabilities(ours, temperature)
            rest = [c for c in range(len(p)) if c != label]
            tckd = p[label] * np.log(p[label] / q[label])
            tckd += (1 - p[label]) * np.log((1 - p[label]) / (1 - q[label]))
            p, q = p[rest] / p[rest].sum(), q[rest] / q[rest].sum()
            found.append(target * tckd + others * sum(p * np.log(p / q)))
        return temperature**2 * np.mean(found)

    return of


@pytest.mark.parametrize("settings", [(4.0, 1.0, 8.0), (1.0, 2.0, 0.5), (10.0, 0.0, 1.0)])
def test_it_equals_the_formula(agrees, made, settings):
    loss = made(DKD, **dict(zip(("temperature", "target", "others"), settings, strict=True)))
    agrees(loss, formula(*settings), "logits")


def test_others_weighed_by_the_teachers_doubt_make_it_kl():
    # equation 5: KL = TCKD + (1 - p_y) NCKD; one image, so that the doubt is one number
    drawn = torch.Generator().manual_seed(3)
    ours, theirs = torch.randn((2, 1, 5), generator=drawn)
    labels = torch.tensor([2])
    doubt = 1 - theirs.softmax(1)[0, 2].item()
    student, teacher = (Outputs(logits, torch.empty(0), {}) for logits in (ours, theirs))
    parts = DKD(DKD.Config(temperature=1.0, target=1.0, others=doubt), None, None)(student, teacher, labels)
    whole = KL(KL.Config(temperature=1.0), None, None)(student, teacher, labels)
    torch.testing.assert_close(sum(parts.values()), whole["kl"])


def test_it_is_finite_however_sure_both_are(made):
    sure = Outputs(3e4 * torch.eye(5), torch.empty(0), {})
    other = Outputs(3e4 * torch.eye(5).flip(0), torch.empty(0), {})
    parts = made(DKD)(sure, other, torch.arange(5))
    assert all(part.isfinite() for part in parts.values())
