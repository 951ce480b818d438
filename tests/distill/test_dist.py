"""DIST's formula, written out in float64."""

import numpy as np
import pytest

from kdsearch.distill.dist import DIST


def softmax(logits, temperature):
    scaled = np.exp(logits / temperature)
    return scaled / scaled.sum(1, keepdims=True)


def formula(temperature, inter, intra):
    def of(student, teacher, labels):
        ours, theirs = softmax(student, temperature), softmax(teacher, temperature)
        of_images = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(ours, theirs, strict=True)])
        of_classes = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(ours.T, theirs.T, strict=True)])
        return temperature**2 * (inter * of_images + intra * of_classes)

    return of


@pytest.mark.parametrize("settings", [(1.0, 1.0, 1.0), (4.0, 2.0, 0.5)])
def test_it_equals_the_formula(agrees, made, settings):
    loss = made(DIST, **dict(zip(("temperature", "inter", "intra"), settings, strict=True)))
    agrees(loss, formula(*settings), "logits")
