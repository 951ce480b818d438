import pytest
import torch

from kdsearch.models.count import count_macs, count_parameters
from kdsearch.models.published import PUBLISHED


@pytest.mark.parametrize(
    ("name", "classes", "image_size", "parameters"),
    [("s0-first", 11, 128, 56_235), ("s0-second", 11, 128, 50_283), ("s4", 10, 28, 98_954)],
)
def test_a_published_student_has_the_published_parameters(name, classes, image_size, parameters):
    student = PUBLISHED[name](classes).eval()
    assert count_parameters(student) == parameters
    assert student(torch.rand(2, 3, image_size, image_size)).shape == (2, classes)


def test_the_student_of_s4_has_the_published_multiply_adds():
    assert count_macs(PUBLISHED["s4"](10), 28) == 2_220_032
