"""Small image folders, a cache of their own, and the real data where it is there."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache that nobody else uses."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("KDSEARCH_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data sets."""
    named = os.environ.get("KDSEARCH_TEST_DATA")
    if not named:
        pytest.skip("KDSEARCH_TEST_DATA is unset: the folder of real Fashion-MNIST and food101-10 files")
    return Path(named)


class Watch:
    """Progress that remembers what it was told."""

    def __init__(self):
        self.steps, self.said = [], []

    def step(self, task, done, total, note=""):
        self.steps.append((task, done, total))

    def say(self, text):
        self.said.append(text)


@pytest.fixture
def progress():
    return Watch()


@pytest.fixture
def food(tmp_path, draw_images):
    """A folder in Food-11's layout: 11 classes, so that their numbers sort otherwise than their names."""
    classes = range(11)
    return draw_images(
        tmp_path / "food",
        *(f"training/{number}_{index}.png" for number in classes for index in range(3)),
        *(f"validation/{number}_{index}.png" for number in classes for index in range(2)),
        *(f"evaluation/{number}_{index}.png" for number in classes for index in range(1)),
    )
