"""The published blocks beside other implementations: as large and, weights copied, of equal answers."""

from functools import partial

import pytest
import torch
from timm.models.ghostnet import GhostModule
from timm.models.xception import Block as XceptionBlock
from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual as MobileNetV2
from torchvision.models.mobilenetv3 import InvertedResidual as MobileNetV3
from torchvision.models.mobilenetv3 import InvertedResidualConfig as V3Config
from torchvision.models.shufflenetv2 import InvertedResidual as ShuffleV2
from torchvision.models.squeezenet import Fire as TheirFire

from kdsearch.models.families.fire import Fire
from kdsearch.models.families.ghost import Ghost
from kdsearch.models.families.grouped import Grouped
from kdsearch.models.families.inverted import InvertedResidual
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
