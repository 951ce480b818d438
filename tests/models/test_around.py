"""The modules around a block, beside other implementations and formulas."""

import pytest
import torch
from torch import nn
from torchvision.ops import SqueezeExcitation as Theirs

from kdsearch.models.around import Residual, SqueezeExcitation
from kdsearch.models.families.plain import Plain
from kdsearch.models.measure import count_parameters


def test_squeeze_and_excitation_answers_as_the_reference_does():
    ours, theirs = SqueezeExcitation(16), Theirs(16, 4, scale_activation=nn.Hardsigmoid)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    maps = torch.randn(3, 16, 5, 5)
    torch.testing.assert_close(ours(maps), theirs(maps))


def around(c_in, c_out, stride, kind, *, scale=False):
    block = Plain(c_in, c_out, stride, nn.ReLU, kernel=3)
    return Residual(block, c_in, c_out, stride, kind=kind, scale=scale).eval()


@pytest.mark.parametrize("kind", ["identity", "pool", "conv"])
def test_a_block_that_keeps_the_shape_is_added_to_its_input(kind):
    net, maps = around(8, 8, 1, kind), torch.rand(2, 8, 6, 6)
    assert torch.equal(net(maps), maps + net.block(maps))
    assert count_parameters(net) == count_parameters(net.block)


def test_a_pooled_shortcut_has_no_parameters_and_fills_up_with_zeros():
    net, maps = around(8, 12, 2, "pool"), torch.rand(2, 8, 7, 7)
    side = net(maps) - net.block(maps)
    torch.testing.assert_close(side[:, :8, 0, 0], maps[:, :, :2, :2].mean((2, 3)))
    torch.testing.assert_close(side[:, :8, 3, 3], maps[:, :, 6, 6])
    assert side[:, 8:].abs().max() < 1e-6
    assert count_parameters(net) == count_parameters(net.block)


def test_a_convolved_shortcut_is_a_1_x_1_with_its_norm():
    net = around(8, 12, 2, "conv")
    assert count_parameters(net) - count_parameters(net.block) == 8 * 12 + 2 * 12
    maps = torch.rand(2, 8, 6, 6)
    convolution, norm = net.shortcut
    torch.testing.assert_close(net(maps), net.block(maps) + norm(convolution(maps)))
    assert convolution.stride == (2, 2)


def test_identity_adds_nothing_if_the_shape_changes():
    net, maps = around(8, 12, 2, "identity", scale=True), torch.rand(2, 8, 6, 6)
    assert torch.equal(net(maps), net.block(maps))
    assert net.scale is None


def test_the_scale_multiplies_the_shortcut():
    net, maps = around(4, 4, 1, "identity", scale=True), torch.rand(2, 4, 6, 6)
    net.scale.data = torch.tensor([0.0, 1.0, 2.0, -1.0]).view(4, 1, 1)
    factors = torch.tensor([0.0, 1.0, 2.0, -1.0]).view(1, 4, 1, 1)
    torch.testing.assert_close(net(maps), factors * maps + net.block(maps))
