"""Teachers without a search: train, import, evaluate, list."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdsearch.progress import Progress, Silence
from kdsearch.search.messages import Request

if TYPE_CHECKING:
    from kdsearch.search.teaching import TeacherReport, Teachers


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
    from kdsearch.search import teaching

    target = teaching.Target(out, force) if out else None
    return teaching.train_teachers(
        Request(study=study, values=values), teacher, target, progress or Silence()
    )


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
    from kdsearch.search import teaching

    target = teaching.Target(out or file.parent / f"{file.stem}{teaching.SUFFIX}", force)
    asked = Request(study=study, values=values)
    return teaching.import_teacher(file, asked, teacher, target, progress or Silence())


def evaluate_teachers(
    study: str,
    *,
    values: Mapping[str, Any] = {},
    teacher: str | None = None,
    progress: Progress | None = None,
) -> "list[TeacherReport]":
    """Scores a study's teachers as they are; trains none. Raises as above."""
    from kdsearch.search import teaching

    asked = Request(study=study, values=values)
    return teaching.evaluate_teachers(asked, teacher, progress or Silence())


def list_teachers() -> "Teachers":
    """Torchvision's classifiers, and the teachers in the cache."""
    from kdsearch.search import teaching

    return teaching.list_teachers()
