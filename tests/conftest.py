"""Folders of its own for every test, one thread for torch, a small view bank."""

import os
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis
import numpy as np
import pytest
import torch
from PIL import Image

from kdsearch.cache import making
from kdsearch.progress import Silence
from kdsearch.views.bank import ViewBank

pytest_plugins = ["tests.colours", "tests.databases", "tests.small_study"]
hypothesis.settings.register_profile("kdsearch", deadline=None)
hypothesis.settings.load_profile("kdsearch")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Nothing of the user's is read or written, and no setting of theirs counts."""
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KDSEARCH_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("KDSEARCH_STORAGE", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def bank(tmp_path_factory):
    """Two views of 40 random images, 3 x 8 x 8, by a teacher of 5 classes whose embedding has 6 numbers."""
    made = ViewBank(
        folder=tmp_path_factory.mktemp("bank"), count=2, classes=5, teachers={"teacher": {"embedding": 6}}
    )
    for number in range(made.count):
        random = np.random.default_rng(number)
        arrays = {
            "images": random.integers(0, 256, (40, 3, 8, 8), np.uint8),
            "teacher.logits": random.normal(0, 3, (40, 5)).astype(np.float16),
            "teacher.embedding": random.normal(0, 1, (40, 6)).astype(np.float16),
        }
        with making(made.path(number), 0) as folder:
            for name, array in arrays.items():
                np.save(folder / f"{name}.npy", array)
    return made


@pytest.fixture(scope="session")
def labels():
    """Of the bank's images."""
    return torch.arange(40) % 5


@pytest.fixture
def draw_images():
    """Writes images of random pixels to the given paths under a folder; the same path has the same pixels."""

    def draw(root, *names, size=(20, 16)):
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(list(name.encode())).integers(0, 256, (*size, 3), np.uint8)
            Image.fromarray(pixels).save(path)
        return root

    return draw


@pytest.fixture
def shared_folder():
    """A folder that other users may look into too, unlike `tmp_path`."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def without_privileges():
    """A block in which this process may not read whatever it likes, though root runs the tests."""

    @contextmanager
    def block():
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(user)

    return block


def _change(file, edit):
    content = bytearray(file.read_bytes())
    file.write_bytes(edit(content))


def _flipped(content, at):
    content[at] ^= 0x5A
    return content


DAMAGES = {
    "noise": lambda file: _change(file, lambda content: _flipped(content, len(content) * 2 // 3)),
    "header": lambda file: _change(file, lambda content: _flipped(content, 0)),
    "cut": lambda file: _change(file, lambda content: content[: len(content) // 2]),
    "longer": lambda file: _change(file, lambda content: content + b"0"),
    "empty": lambda file: _change(file, lambda content: b""),
    "gone": lambda file: file.unlink(),
}


@pytest.fixture(params=sorted(DAMAGES))
def damage(request):
    """Does something to a file that no program should believe."""
    return DAMAGES[request.param]


class Heard(Silence):
    """Progress that keeps what is said."""

    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


@pytest.fixture
def heard():
    return Heard()
