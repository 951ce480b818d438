"""The published blocks beside other implementations: as large and, weights copied, of equal answers."""

from functools import partial

import pytest
import torch
from timm.layers import LayerNorm2d
from timm.models.convnext import ConvNeXtBlock, ConvNeXtStage
from timm.models.ghostnet import GhostModule
from timm.models.xception import Block as XceptionBlock
from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual as MobileNetV2
from torchvision.models.mobilenetv3 import InvertedResidual as MobileNetV3
from torchvision.models.mobilenetv3 import InvertedResidualConfig as V3Config
from torchvision.models.shufflenetv2 import InvertedResidual as ShuffleV2
from torchvision.models.squeezenet import Fire as TheirFire

from kdsearch.models.families.convnext import ConvNeXt
from kdsearch.models.families.dwsep import DepthwiseSeparable
from kdsearch.models.families.fire import Fire
from kdsearch.models.families.ghost import Ghost
from kdsearch.models.families.grouped import Grouped
from kdsearch.models.families.inverted import InvertedResidual
from kdsearch.models.families.mixed import Mixed
from kdsearch.models.families.recurrent import Recurrent
from kdsearch.models.families.shuffle import ShuffleUnit
from kdsearch.models.families.xception import Xception
from kdsearch.models.measure import count_parameters


def their_xception(c_in, c_out, stride):
    """With its shortcut registered last, as ours."""
    block = XceptionBlock(c_in, c_out, 2, stride, start_with_relu=True, grow_first=True)
    if block.skip is not None:
        skip, norm = block.skip, block.skipbn
        del block.skip, block.skipbn
        block.skip, block.skipbn = skip, norm
    return block


def their_v3(c_in, c_out, stride, activation):
    settings = V3Config(c_in, 5, 4 * c_in, c_out, True, activation, stride, 1, 1.0)
    return MobileNetV3(settings, nn.BatchNorm2d)


inverted = partial(InvertedResidual, kernel=3, residual=True, squeeze=False)
PAIRS = {
    "fire": (Fire(16, 32, 1, nn.ReLU, ratio=0.25, norm=False), TheirFire(16, 8, 16, 16)),
    **{
        f"inverted of {c_out}, stride {stride}, factor {factor}": (
            inverted(16, c_out, stride, nn.ReLU6, expansion=factor),
            MobileNetV2(16, c_out, stride, factor),
        )
        for c_out, stride, factor in [(16, 1, 6), (24, 1, 4), (24, 2, 2), (16, 1, 1)]
    },
    "inverted with squeeze": (
        InvertedResidual(16, 16, 1, nn.ReLU, kernel=5, expansion=4, residual=True, squeeze=True),
        their_v3(16, 16, 1, "RE"),
    ),
    "shuffle": (ShuffleUnit(16, 16, 1, nn.ReLU, kernel=3), ShuffleV2(16, 16, 1)),
    "shuffle, stride 2": (ShuffleUnit(16, 32, 2, nn.ReLU, kernel=3), ShuffleV2(16, 32, 2)),
    "xception": (Xception(16, 16, 1, nn.ReLU, kernel=3), their_xception(16, 16, 1)),
    "xception, stride 2": (Xception(16, 24, 2, nn.ReLU, kernel=3), their_xception(16, 24, 2)),
    **{
        f"ghost of {c_out}, stride {stride}": (
            Ghost(16, c_out, stride, nn.ReLU, kernel=kernel),
            GhostModule(16, c_out, kernel, 2, 3, stride),
        )
        for c_out, kernel, stride in [(24, 1, 1), (25, 3, 1), (24, 3, 2)]
    },
    "grouped": (
        Grouped(16, 24, 2, nn.ReLU, kernel=3, groups=4),
        nn.Sequential(
            nn.Conv2d(16, 24, 3, 2, 1, groups=4, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.ChannelShuffle(4),
        ),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("training", [True, False])
def test_a_block_answers_as_the_reference_does(name, training):
    ours, theirs = (block.train(training) for block in PAIRS[name])
    copied = dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True))
    theirs.load_state_dict(copied)
    images = torch.randn(4, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    assert count_parameters(ours) == count_parameters(theirs)
    torch.testing.assert_close(ours(images.clone()), theirs(images.clone()))


def test_the_residual_can_be_left_out():
    with_it = inverted(16, 16, 1, nn.ReLU6, expansion=2).eval()
    without = inverted(16, 16, 1, nn.ReLU6, expansion=2, residual=False).eval()
    without.load_state_dict(with_it.state_dict())
    images = torch.rand(2, 16, 8, 8)
    torch.testing.assert_close(with_it(images), images + without(images))


@pytest.mark.parametrize(("c_out", "stride"), [(16, 1), (24, 2)])
def test_a_convnext_block_answers_as_timm_s(c_out, stride):
    ours = ConvNeXt(16, c_out, stride, nn.GELU, kernel=7, expansion=4)
    if stride == 1:
        theirs = nn.Sequential(ConvNeXtBlock(16, c_out, ls_init_value=1.0))
    else:
        theirs = ConvNeXtStage(16, c_out, stride=2, depth=1, ls_init_value=1.0, norm_layer=LayerNorm2d)
    named = {name.rsplit(".", 1)[-1]: tensor for name, tensor in ours.named_parameters() if name == "scale"}
    mine = [*ours.first.parameters(), named["scale"]]
    inner = [
        p for part in ("depthwise", "norm", "expand", "project") for p in getattr(ours, part).parameters()
    ]
    blocks = theirs.blocks if stride == 2 else theirs
    outer = [*theirs.downsample.parameters()] if stride == 2 else []
    block = blocks[0]
    parts = (block.conv_dw, block.norm, block.mlp.fc1, block.mlp.fc2)
    with torch.no_grad():
        theirs_inner = [p for part in parts for p in part.parameters()]
        for ours_one, theirs_one in zip([*mine, *inner], [*outer, block.gamma, *theirs_inner], strict=True):
            theirs_one.copy_(ours_one.view_as(theirs_one))
    images = torch.randn(4, 16, 8, 8)
    assert count_parameters(ours) == count_parameters(theirs)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


def test_a_recurrent_block_is_one_separable_layer_several_times():
    ours = Recurrent(16, 16, 1, nn.ReLU, kernel=3, times=3).eval()
    twin = Recurrent(16, 24, 2, nn.ReLU, kernel=3, times=3)
    separable = DepthwiseSeparable(16, 16, 1, nn.ReLU, kernel=3)
    assert count_parameters(ours) == count_parameters(separable) + 2 * (2 * 16 + 2 * 16)
    maps = images = torch.randn(2, 16, 8, 8)
    for inside, after in zip(ours.inside, ours.after, strict=True):
        layer = nn.Sequential(ours.depthwise, *inside, ours.pointwise, *after)
        maps = maps + layer(maps)
    torch.testing.assert_close(ours(images), maps)
    assert twin(images).shape == (2, 24, 4, 4)


def test_a_mixed_block_is_its_formula():
    ours = Mixed(16, 16, 1, nn.SiLU, expansion=2).eval()
    images = torch.randn(2, 16, 9, 9)
    still, small, large, wide = images.chunk(4, 1)
    _, three, seven, (average, dilated) = ours.parts
    wide = nn.functional.conv2d(average(wide), dilated.weight, padding=9, dilation=3, groups=4)
    tokens = torch.cat([still, three(small), seven(large), wide], 1).permute(0, 2, 3, 1)
    tokens = nn.functional.layer_norm(tokens, (16,), ours.norm.weight, ours.norm.bias)
    pair = tokens @ ours.pair.weight.T + ours.pair.bias
    gated = nn.functional.silu(pair[..., :32]) * pair[..., 32:]
    expected = images + (gated @ ours.project.weight.T + ours.project.bias).permute(0, 3, 1, 2)
    torch.testing.assert_close(ours(images), expected)
    assert count_parameters(ours) == 4 * (9 + 49 + 49) + 2 * 16 + 17 * 64 + 33 * 16 + 16
