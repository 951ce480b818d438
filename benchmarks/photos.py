"""The images and the teacher of a speed comparison, made once, kept in kdsearch's cache.

food101-10 is read from its tar in the folder that KDSEARCH_TEST_DATA names; Fashion-MNIST as in `fashion`.
"""

import re
import tarfile
from pathlib import Path
from typing import Any

import fashion
from food import packed
from task import Task

from kdsearch.cache import digest, entry, locked, making
from kdsearch.device import seeded
from kdsearch.models.teachers import build_teacher
from kdsearch.models.weights import to_bytes

CLASSES = 10
SPLITS = {"training": "train", "validation": "validation"}


def food(train: int, validation: int) -> Path:
    """The first images of each class of food101-10, JPEGs of 128 x 128 pixels, in class folders."""
    path = entry("benchmarks", digest("food", train, validation))
    wanted = {"training": train // CLASSES, "validation": validation // CLASSES}
    with locked(path):
        if not path.exists():
            with tarfile.open(packed("food101-10_128.tar")) as tar, making(path, 2**26) as folder:
                for member in tar:
                    found = re.fullmatch(r"(training|validation)/(\d+)_(\d+)\.jpg", member.name)
                    if found and int(found[3]) < wanted[found[1]]:
                        place = folder / SPLITS[found[1]] / found[2]
                        place.mkdir(parents=True, exist_ok=True)
                        content = tar.extractfile(member)
                        assert content, "a photo is a file"
                        (place / f"{found[3]}.jpg").write_bytes(content.read())
    return path


def food_task(images: tuple[int, int], teacher_epochs: int, settings: dict[str, Any]) -> Task:
    """food101-10 at 64 pixels; the teacher learns from all its training images, or from none in 0 epochs."""
    folder = food(*images)
    given = {"data.image_size": 64, **settings}
    teacher = _trained(food(3000, images[1]), teacher_epochs) if teacher_epochs else _untrained(64)
    return Task("food11", str(folder), str(teacher), given)


def fashion_task(images: tuple[int, int], settings: dict[str, Any]) -> Task:
    """Fashion-MNIST at 28 pixels as PNGs, its teacher untrained."""
    folder = fashion.images(fashion.Size(*images, test=0, teacher="", teacher_epochs=0))
    given = {"data.name": "folder", "data.image_size": 28, "data.allow_duplicates": True, **settings}
    return Task("fashion-mnist", str(folder), str(_untrained(28)), given)


def _untrained(image_size: int) -> Path:
    """A ResNet18 as it is drawn: it answers as slowly as one that knows something."""
    path = entry("benchmarks", digest("untrained", image_size))
    with locked(path):
        if not path.exists():
            with making(path, 2**27) as folder, seeded(0):
                teacher = build_teacher("resnet18", CLASSES, image_size, (0.5,) * 3, (0.5,) * 3)
                (folder / "teacher.safetensors").write_bytes(to_bytes(teacher.state_dict()))
    return path / "teacher.safetensors"


def _trained(folder: Path, epochs: int) -> Path:
    settings = {"data.path": str(folder), "data.image_size": 64, "teacher.epochs": epochs}
    return fashion.kept_teacher("food11", settings, digest("food teacher", str(folder), epochs))
