import pytest
from torch import nn

from kdsearch.models.families.dwsep import DepthwiseSeparable
from kdsearch.models.families.plain import Plain
from kdsearch.models.measure import count_parameters

SIZES = pytest.mark.parametrize(("c_in", "c_out", "kernel"), [(3, 8, 3), (8, 8, 5), (16, 7, 3)])


@SIZES
def test_a_plain_convolution_has_the_parameters_its_docstring_says(c_in, c_out, kernel):
    assert (
        count_parameters(Plain(c_in, c_out, 1, nn.ReLU, kernel=kernel))
        == kernel**2 * c_in * c_out + 2 * c_out
    )


@SIZES
def test_a_depthwise_separable_convolution_has_the_parameters_its_docstring_says(c_in, c_out, kernel):
    counted = count_parameters(DepthwiseSeparable(c_in, c_out, 2, nn.ReLU, kernel=kernel))
    assert counted == c_in * (kernel**2 + 2) + c_in * c_out + 2 * c_out
