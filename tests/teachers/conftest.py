"""Forty real digits to train on, and a study that a CPU prepares in a second."""

import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from kdsearch.data.sources import load_search_sets
from kdsearch.device import CPU
from kdsearch.models.teachers import Teacher, build_teacher
from kdsearch.progress import Silence
from kdsearch.store.record import StudyRecord
from kdsearch.study.file import Study
from kdsearch.tables import DataConfig
from kdsearch.teachers.ready import prepare_teachers

MODEL = "mobilenet_v3_small"


@pytest.fixture(scope="session")
def sets(tmp_path_factory):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KDSEARCH_CACHE", str(tmp_path_factory.mktemp("digits")))
        return load_search_sets(DataConfig(train_images=40), 0, Silence())


@pytest.fixture
def study():
    def make(**tables):
        teacher = {"model": MODEL, "epochs": 1, "batch_size": 20} | tables.pop("teacher", {})
        student = {"stages": 1, "depth_1": 1}
        training = {"epochs": 2, "batch_size": 20}
        return Study(
            {"name": "mine", "student": student, "training": training, "teacher": teacher} | tables,
            "mine.toml",
        )

    return make


@pytest.fixture
def record(tmp_path):
    made = []

    def make(name="mine"):
        made.append(StudyRecord(f"sqlite:///{tmp_path / 'kdsearch.db'}", name))
        return made[-1]

    yield make
    for each in made:
        each.engine.dispose()


@pytest.fixture
def prepare(study, sets, record):
    def run(name="mine", seed=0, progress=None, **teacher):
        found = study(seed=seed, teacher=teacher)
        return prepare_teachers(found, sets, record(name), CPU, progress or Silence())["teacher"]

    return run


@pytest.fixture
def answers():
    """The images that a Teacher has answered to since the test began."""
    seen = []

    def see(module, inputs):
        if isinstance(module, Teacher):
            seen.append(len(inputs[0]))

    handle = register_module_forward_pre_hook(see)
    yield seen
    handle.remove()


@pytest.fixture
def torchvision_net(sets):
    """A network with torchvision's own keys, for `classes` classes."""

    def make(classes=10, model=MODEL):
        torch.manual_seed(5)
        return build_teacher(model, classes, 8, *sets.train.mean_std()).net

    with torch.random.fork_rng():
        yield make
