"""A part of Fashion-MNIST, one teacher of it and the views of a seed: what the other benchmarks share.

The files are found through KDSEARCH_TEST_DATA; without it kdsearch downloads them, as for any user. Images
and teacher are made once and stay in kdsearch's cache.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import torch
from torch import Tensor
from torchvision.io import write_png

from kdsearch.cache import digest, entry, locked, making
from kdsearch.data.image_set import ImageSet
from kdsearch.data.sources import load_search_sets, load_test_set
from kdsearch.phases.bench import Prepared
from kdsearch.progress import Silence
from kdsearch.run.child import quiet
from kdsearch.run.preparing import prepare
from kdsearch.run.protocol import Channel, Ready, Request
from kdsearch.store.identity import open_study
from kdsearch.store.record import StudyRecord
from kdsearch.store.storage import StudyStorage, open_storage
from kdsearch.study.teachers import ONLY
from kdsearch.tables import DataConfig
from kdsearch.teachers.stored import weights_file

STUDY = "fashion-mnist"
WEIGHTS = weights_file(ONLY)
PUBLISHED = 60_000  # training images of the whole set


class Size(NamedTuple):
    """How much of the set, and which teacher."""

    train: int
    validation: int
    test: int
    teacher: str
    teacher_epochs: int


FULL = Size(1500, 1000, 10_000, "resnet18", 15)
QUICK = Size(200, 200, 500, "mobilenet_v3_small", 1)


class Quiet(Channel):
    """Hears what the preparing process and a worker say, and keeps only where things are."""

    def __init__(self) -> None:
        self.prepared: Prepared | None = None

    def send(self, message: tuple[Any, ...]) -> None:
        """Nobody else listens."""
        if isinstance(message, Ready):
            self.prepared = Prepared.model_validate(message.prepared)


class Opened(NamedTuple):
    """A study that is ready for its first trial."""

    study: optuna.Study
    storage: StudyStorage
    prepared: Prepared
    record: StudyRecord


def alone() -> None:
    """This process trains like a worker: quietly, on one core."""
    quiet()
    torch.set_num_threads(1)


def open_new(name: str, seed: int, size: Size, folder: Path, settings: Mapping[str, Any]) -> Opened:
    """The shipped study `fashion-mnist` on this part of its data, created in `folder`, with all its views."""
    given = {**_settings(size), "teacher.checkpoint": str(teacher(size)), **settings}
    return opened(STUDY, name, seed, folder, given)


def opened(study: str, name: str, seed: int, folder: Path, settings: Mapping[str, Any]) -> Opened:
    """The shipped study `study` under another name, created in `folder`, with all its views."""
    channel, url = Quiet(), f"sqlite:///{folder / 'kdsearch.db'}"
    os.environ["KDSEARCH_STATE"] = str(folder)
    own = {"name": name, "seed": seed, "run.storage": url, "run.device": "cpu", "run.trials": 10_000}
    prepare(Request(study=study, values={**settings, **own}), channel)
    assert channel.prepared, "views are asked for"
    storage = open_storage(url)
    return Opened(open_study(storage, name), storage, channel.prepared, StudyRecord(url, name))


def _settings(size: Size) -> dict[str, Any]:
    data = {"name": "folder", "path": str(images(size)), "image_size": 28, "allow_duplicates": True}
    given = {f"data.{key}": value for key, value in data.items()}
    return {**given, "teacher.model": size.teacher, "teacher.epochs": size.teacher_epochs}


def published() -> DataConfig:
    """The whole set, and how many of its training images are held out."""
    root = os.environ.get("KDSEARCH_TEST_DATA")
    return DataConfig(name="FashionMNIST", path=root and str(Path(root) / "fashion-mnist"))


def images(size: Size) -> Path:
    """A folder of class folders with so many training and validation images, the same for all seeds."""
    path = entry("benchmarks", digest("fashion", size.train, size.validation))
    with locked(path):
        if not path.exists():
            held = {"validation": size.validation / PUBLISHED, "train_images": size.train}
            sets = load_search_sets(published().model_copy(update=held), 0, Silence())
            with making(path, 2**24) as folder:
                for part in ("train", "validation"):
                    _write(folder / part, getattr(sets, part))
    return path


def _write(folder: Path, images: ImageSet) -> None:
    for number, (image, label) in enumerate(zip(images.images, images.labels.tolist(), strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        write_png(image, str(folder / str(label) / f"{number:05}.png"))


def test_images(size: Size) -> tuple[Tensor, Tensor]:
    """The first `size.test` test images with their labels."""
    found = load_test_set(published(), 0, Silence())
    return found.images[: size.test], found.labels[: size.test]


def teacher(size: Size) -> Path:
    """The weights of the one teacher that all seeds share, trained on the same images as the students."""
    return kept_teacher(STUDY, _settings(size), digest("teacher", *size))


def kept_teacher(study: str, settings: Mapping[str, Any], key: str) -> Path:
    """The weights of the teacher that the shipped study has with these settings, made once, called `key`."""
    path = entry("benchmarks", key)
    with locked(path):
        if not path.exists():
            with making(path, 2**28) as folder:
                (folder / WEIGHTS).write_bytes(_trained(study, settings, folder))
                for rest in folder.glob("kdsearch.db*"):
                    rest.unlink()
    return path / WEIGHTS


def _trained(study: str, settings: Mapping[str, Any], folder: Path) -> bytes:
    url = f"sqlite:///{folder / 'kdsearch.db'}"
    own = {"name": "teacher", "run.storage": url, "run.device": "cpu"}
    prepare(Request(study=study, values={**settings, **own}, views=False), Quiet())
    weights = StudyRecord(url, "teacher").file(WEIGHTS)
    assert weights, "prepare stores the teacher"
    return weights
