import pytest
import torch

from kdsearch.views.bank import Answers, View
from kdsearch.views.mixing import Mix
from kdsearch.views.softness import outside, softness_line

LOGITS = torch.tensor([[4.0, 0.0, 0.0], [0.0, 4.0, 2.0]])
LABELS = torch.tensor([0, 2])


def view(mix=None):
    return View(torch.empty(0), {"teacher": Answers(LOGITS.half(), torch.empty(0))}, mix)


def test_it_is_the_mean_probability_of_all_other_classes():
    probabilities = [torch.softmax(LOGITS / t, 1) for t in (1, 2, 4)]
    expected = [1 - float(p[[0, 1], LABELS].mean()) for p in probabilities]
    assert outside(view(), LABELS)["teacher"] == pytest.approx(expected, abs=1e-6)


def test_of_a_mixed_image_both_labels_are_inside():
    mix = Mix(torch.tensor([1, 0]), torch.tensor([0.7, 1.0]))  # the first holds a part of the second
    p = torch.softmax(LOGITS, 1)
    expected = float(p[0, 1] + (1 - p[1, 2])) / 2
    assert outside(view(mix), LABELS)["teacher"][0] == pytest.approx(expected, abs=1e-6)
    twins = Mix(torch.tensor([0, 1]), torch.tensor([0.7, 0.7]))
    assert outside(view(twins), LABELS)["teacher"] == pytest.approx(outside(view(), LABELS)["teacher"])


def test_a_teacher_that_is_too_sure_is_named_with_the_cures():
    soft = softness_line("resnet18", (0.031, 0.12, 0.4))
    assert soft == (
        "teacher resnet18: probability outside the label on the first view: "
        "3.1% at T = 1, 12.0% at T = 2, 40.0% at T = 4"
    )
    hard = softness_line("resnet18", (0.001, 0.017, 0.2))
    assert "below 5% at T = 2" in hard
    assert "label_smoothing" in hard
    assert "\n" not in hard
