"""A small network with dropout, and trainings of it on the small bank."""

import pytest
import torch
from torch import nn

from kdsearch.config import Record
from kdsearch.device import seeded
from kdsearch.distill.kl import KL
from kdsearch.distill.loss import Loss
from kdsearch.distill.objective import Objective
from kdsearch.engine.training import Labelled, Training
from kdsearch.outputs import Outputs, Shapes
from kdsearch.views.batches import ViewBatches

SHAPES = Shapes(5, 6, {})
TIMES = {"seconds", "images_per_second", "finished_at"}


class Net(nn.Module):
    """Convolution, BatchNorm, dropout, linear: something of each kind of state."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(6, 5)

    def forward(self, images):
        embedding = self.body(images).mean((2, 3))
        return Outputs(self.head(embedding), embedding, {})


class Regressed(Loss):
    """The distance between embeddings after a learned map: a loss with weights of its own."""

    reads = frozenset({"embedding"})
    Config = Record

    def __init__(self):
        super().__init__(Record(), SHAPES, SHAPES)
        self.map = nn.Linear(6, 6)

    def forward(self, student, teacher, labels):
        return {"regressed": (self.map(student.embedding) - teacher.embedding).square().mean()}


def answer(net, images):
    return net(images)


@pytest.fixture(scope="session")
def validation():
    generator = torch.Generator().manual_seed(7)
    images = torch.randint(0, 256, (20, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return Labelled(images, torch.arange(20) % 5)


@pytest.fixture
def training(bank, labels, validation):
    """Makes a training of three epochs of three steps; `weights` seeds the network, `seed` its dropout."""

    def make(*, seed=0, weights=0, stop=lambda: False, losses=True, device="cpu", **config):
        falling = config.pop("alpha_schedule", "constant") == "falling"
        settings = Training.Config(**({"epochs": 3, "batch_size": 16, "learning_rate": 0.02} | config))
        with seeded(weights):
            network, learned = Net(), Regressed()
        objective = Objective(
            [KL(KL.Config(), SHAPES, SHAPES), learned] if losses else [],
            0.5 if losses else 0.0,
            falling=falling,
        )
        batches = ViewBatches(
            bank,
            labels.to(device),
            settings.batch_size,
            3,
            teachers=("teacher",),
            reads=objective.reads,
            wait=lambda number: None,
        )
        images = Labelled(*(tensor.to(device) for tensor in validation))
        return Training(network, objective, settings, batches, images, seed=seed, answer=answer, stop=stop)

    return make


@pytest.fixture
def numbers():
    """All that a training came to, but for its times."""

    def of(training):
        results = [result.model_dump(exclude=TIMES) for result in training.results]
        weights = [
            tensor.tolist()
            for net in (training.final, training.network)
            for tensor in net.state_dict().values()
        ]
        return results, weights

    return of
