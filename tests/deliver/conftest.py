"""One briefly trained student of each family on real digits, and its export."""

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from kdsearch.deliver.card import CardFacts, FinalTest
from kdsearch.deliver.export import export_student
from kdsearch.deliver.int8 import Samples
from kdsearch.engine.training import Labelled
from kdsearch.models.families import FAMILIES
from kdsearch.models.measure import macs_of, parameters_of
from kdsearch.models.student import StudentConfig, StudentNet, as_input, build_student
from kdsearch.store.facts import DataFacts

FLOAT = ("source", "onnx", "pt2")  # forms that take little time


class Trained(NamedTuple):
    config: StudentConfig
    student: StudentNet  # in eval mode
    facts: CardFacts
    samples: Samples

    @property
    def images(self) -> Tensor:
        return self.samples.validation.images


class Exported(NamedTuple):
    trained: Trained
    folder: Path
    paths: list[Path]


@pytest.fixture(scope="session")
def digits():
    bundle = load_digits()
    pixels = torch.from_numpy(bundle.images).mul(255 / 16).round().to(torch.uint8)[:, None]
    return pixels, torch.from_numpy(bundle.target)


@pytest.fixture(scope="session", params=sorted(FAMILIES))
def trained(request, digits):
    images, labels = digits
    config = StudentConfig(
        family=request.param,
        options={},
        width=8,
        growth=1.5,
        depths=(1, 2),
        strides=(1, 2, 2),
        downsampling="stride",
        activation="hardswish",
        classes=10,
        mean=(0.3, 0.3, 0.3),
        std=(0.37, 0.37, 0.37),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = build_student(config)
    optimizer = torch.optim.AdamW(student.parameters(), 1e-2)
    for batch, answers in zip(images[:1152].split(64), labels[:1152].split(64), strict=True):
        loss = nn.functional.cross_entropy(student(as_input(batch)), answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    samples = Samples(images[:256], Labelled(images[1152:1408], labels[1152:1408]))
    return Trained(config, student.eval(), card_facts(config), samples)


def card_facts(config: StudentConfig) -> CardFacts:
    return CardFacts(
        study="digits",
        trial=7,
        trials=100,
        seed=0,
        params={"family": config.family, "learning_rate": 0.01},
        max_params=60_000,
        parameters=parameters_of(config),
        macs=macs_of(config, 8),
        data=DataFacts(
            name="digits",
            fingerprint="0123456789abcdef0123",
            train=1149,
            validation=288,
            classes=tuple("0123456789"),
            image_size=8,
            channels=1,
        ),
        validation_accuracy=0.975,
        validation_confusion=tuple(tuple(20 * (i == j) + (i == 0) for j in range(10)) for i in range(10)),
        test=FinalTest(accuracy=0.985, images=360, copies=0, read="2026-11-21"),
        teachers={"resnet18": 0.99},
        versions={"torch": str(torch.__version__)},
        commit=None,
    )


@pytest.fixture(scope="session")
def exported(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work") / "best" / "digits"
    config, student, facts, samples = trained
    paths, _ = export_student(config, student.state_dict(), facts, samples, folder, forms=FLOAT)
    return Exported(trained, folder, paths)
