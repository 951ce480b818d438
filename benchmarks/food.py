"""A part of food101-10, small photographs of ten dishes, and one teacher of it: as `fashion`, in colour.

The file `food101-10_64.tar` is found through KDSEARCH_TEST_DATA; its own validation split judges trainings,
its evaluation split is the test. Unpacked images and teacher are made once and stay in kdsearch's cache.
"""

import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fashion import Opened, kept_teacher, opened
from torch import Tensor

from kdsearch.cache import digest, entry, locked, making
from kdsearch.data.sources import load_test_set
from kdsearch.progress import Silence
from kdsearch.tables import DataConfig

STUDY = "food11"  # which has the same folders, and the augmentation for photographs
FILE = "food101-10_64.tar"
IMAGE_SIZE = 64  # a ResNet18 keeps its stem there: at 32, where it does not, it costs three times as much


class Size(NamedTuple):
    """How much of the set, and which teacher."""

    train: int
    teacher: str
    teacher_epochs: int


FULL = Size(1000, "resnet18", 12)
QUICK = Size(100, "mobilenet_v3_small", 1)


def open_new(name: str, seed: int, size: Size, folder: Path, settings: Mapping[str, Any]) -> Opened:
    """The shipped study `food11` on this part of food101-10, created in `folder`, with all its views."""
    given = {**_settings(size), "teacher.checkpoint": str(teacher(size)), **settings}
    return opened(STUDY, name, seed, folder, given)


def _settings(size: Size) -> dict[str, Any]:
    data = {"path": str(images()), "image_size": IMAGE_SIZE, "train_images": size.train}
    given = {f"data.{key}": value for key, value in data.items()}
    return {**given, "teacher.model": size.teacher, "teacher.epochs": size.teacher_epochs}


def packed(file: str) -> Path:
    """One of the tars. Raises SystemExit where their folder is not named."""
    root = os.environ.get("KDSEARCH_TEST_DATA")
    if root is None:
        raise SystemExit(f"KDSEARCH_TEST_DATA is not set: it names the folder of {file}")
    return Path(root) / file


def images() -> Path:
    """The unpacked file."""
    path = entry("benchmarks", digest(FILE))
    with locked(path):
        if not path.exists():
            tar = packed(FILE)
            with making(path, 2 * tar.stat().st_size) as folder, tarfile.open(tar) as file:
                file.extractall(folder, filter="data")
    return path


def test_images() -> tuple[Tensor, Tensor]:
    """All test images with their labels."""
    config = DataConfig(name="folder", path=str(images()), image_size=IMAGE_SIZE)
    found = load_test_set(config, 0, Silence())
    return found.images, found.labels


def teacher(size: Size) -> Path:
    """The weights of the one teacher that all seeds share, trained on the same images as the students."""
    return kept_teacher(STUDY, _settings(size), digest("food teacher", *size))
