"""Forty real digits to train on, and a study that a CPU prepares in a second."""

import pytest

from kdsearch.data.request import DataConfig
from kdsearch.data.sources import load_search_sets
from kdsearch.progress import Silence
from kdsearch.store.record import StudyRecord
from kdsearch.study.file import Study


@pytest.fixture(scope="session")
def sets(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDSEARCH_CACHE", str(tmp_path_factory.mktemp("digits")))
        return load_search_sets(DataConfig(train_images=40), 0, Silence())


@pytest.fixture
def study():
    def make(**tables):
        teacher = {"model": "mobilenet_v3_small", "epochs": 1, "batch_size": 20} | tables.pop("teacher", {})
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
