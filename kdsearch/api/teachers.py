"""Teachers without a search: train, import, evaluate, list."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdsearch.progress import Progress, Silence

if TYPE_CHECKING:
    from kdsearch.teachers.commands import TeacherReport, Teachers


def train_teachers(
    study: str,
    *,
    values: Mapping[str, Any] = {},
    teacher: str | None = None,
    out: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> "list[TeacherReport]":
    """Trains a study's teachers, or the one named, into the cache and to `out`; creates no study.

    Raises StudyFileError, DataError, TeacherError, UsageError.
    """
    from kdsearch.teachers import commands

    target = commands.Target(out, force) if out else None
    return commands.train_teachers(study, values, name=teacher, target=target, progress=progress or Silence())


def import_teacher(
    file: Path,
    study: str,
    *,
    values: Mapping[str, Any] = {},
    teacher: str | None = None,
    out: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> "TeacherReport":
    """Reads `file` as a study's teacher, scores it, writes it to `out` or beside it. Raises as above."""
    from kdsearch.teachers import commands

    target = commands.Target(out or file.parent / f"{file.stem}{commands.SUFFIX}", force)
    return commands.import_teacher(
        file, study, values, name=teacher, target=target, progress=progress or Silence()
    )


def evaluate_teachers(
    study: str,
    *,
    values: Mapping[str, Any] = {},
    teacher: str | None = None,
    progress: Progress | None = None,
) -> "list[TeacherReport]":
    """Scores a study's teachers as they are; trains none. Raises as above."""
    from kdsearch.teachers import commands

    return commands.evaluate_teachers(study, values, name=teacher, progress=progress or Silence())


def list_teachers() -> "Teachers":
    """Torchvision's classifiers, and the teachers in the cache."""
    from kdsearch.teachers import commands

    return commands.list_teachers()
