"""A part of the scanned digits, and one teacher of it: as `fashion`, for trainings of a few seconds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fashion import Opened, kept_teacher, opened

from kdsearch.cache import digest

STUDY = "digits"


class Size(NamedTuple):
    """How many of the 1,437 images train, what share of them all judges, and which teacher."""

    train: int
    validation: float
    teacher: str
    teacher_epochs: int


FULL = Size(400, 0.6, "resnet18", 20)


def open_new(name: str, seed: int, size: Size, folder: Path, settings: Mapping[str, Any]) -> Opened:
    """The shipped study `digits` on this part of its data, created in `folder`, with all its views."""
    given = {**_settings(size), "teacher.checkpoint": str(teacher(size)), **settings}
    return opened(STUDY, name, seed, folder, given)


def _settings(size: Size) -> dict[str, Any]:
    data = {"data.train_images": size.train, "data.validation": size.validation}
    return {**data, "teacher.model": size.teacher, "teacher.epochs": size.teacher_epochs}


def teacher(size: Size) -> Path:
    """The weights of the one teacher, trained on the same images as the students."""
    return kept_teacher(STUDY, _settings(size), digest("digits teacher", *size))
