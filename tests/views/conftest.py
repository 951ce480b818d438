"""Views of random images, by an untrained teacher."""

import pytest
import torch
from torch import nn

from kdsearch.device import seeded
from kdsearch.models.student import as_input
from kdsearch.models.teachers import build_teacher
from kdsearch.tables import AugmentationConfig
from kdsearch.views.augment import Augmentation
from kdsearch.views.bank import ViewBank
from kdsearch.views.build import CHUNK, ViewBuilder

COUNT = CHUNK + 20


@pytest.fixture(scope="session")
def teacher(images):
    """Untrained, but with the statistics of the images: otherwise all its answers are the same."""
    with seeded(0), torch.no_grad():
        made = build_teacher("mobilenet_v3_small", 5, 16, (0.4, 0.5, 0.6), (0.2, 0.2, 0.3))
        for layer in made.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None
        made.train()(as_input(images[:64]))
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (COUNT, 3, 16, 16), generator=generator, dtype=torch.uint8)


@pytest.fixture
def builder(tmp_path, teacher, images):
    """Makes views in a folder of its own, of the first `count` images, or of all: they are two chunks."""

    def make(name="views", seed=0, count=40):
        teachers = {"teacher": {"embedding": teacher.shapes.embedding}}
        bank = ViewBank(folder=tmp_path / name, count=3, classes=5, teachers=teachers)
        augment = Augmentation(AugmentationConfig(rotation=30.0, jitter=0.2), 16)
        return ViewBuilder(bank, images[:count], augment, {"teacher": teacher}, seed)

    return make
