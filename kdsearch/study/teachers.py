"""The teachers of a study: one, or several; a trial then learns from one of them or from an average."""

from collections.abc import Mapping, Sequence
from typing import Any

from kdsearch.errors import StudyFileError
from kdsearch.names import nearest_first, teacher_name_fault
from kdsearch.study.space import Place, read_record
from kdsearch.tables import TeacherConfig

ONLY = "teacher"  # the name of the teacher of a study that has no table [teachers.NAME]


def members(teacher: str) -> tuple[str, ...]:
    """The names in a sum such as `a+b`, whose outputs are averaged."""
    return tuple(teacher.split("+"))


def in_order(teacher: str) -> str:
    """The sum with its names in alphabetical order: equal averages have equal names."""
    return "+".join(sorted(members(teacher)))


def place_of(name: str) -> str:
    """The table of the study file that describes a teacher."""
    return ONLY if name == ONLY else f"teachers.{name}"


def label(name: str, model: str) -> str:
    """A teacher's name for messages: its network, after its own name if it has one."""
    return model if name == ONLY else f"{name} ({model})"


def read_teachers(file: str, common: TeacherConfig, tables: Mapping[str, Any]) -> dict[str, TeacherConfig]:
    """The teachers by name, in alphabetical order: those of `tables`, else `common` alone.

    A key that a table leaves out has its value from `common`. Raises StudyFileError.
    """
    if not tables:
        return {ONLY: common}
    for name, table in tables.items():
        if name == ONLY:
            raise StudyFileError(
                f"{file}: teachers.{name}: [{ONLY}] is what all teachers share; take another name"
            )
        if fault := teacher_name_fault(name):
            raise StudyFileError(f"{file}: teachers.{name}: {fault}")
        if not isinstance(table, dict):
            raise StudyFileError(f"{file}: teachers.{name} = {table!r}: must be a table, [teachers.{name}]")
    shared = common.model_dump()
    return {
        name: read_record(Place(file, f"teachers.{name}"), {**shared, **tables[name]}, TeacherConfig)
        for name in sorted(tables)
    }


def check_folds(file: str, teachers: Mapping[str, TeacherConfig], losses: Sequence[str]) -> None:
    """Raises StudyFileError if `losses`, which read more than logits, would learn from several networks.

    Logits of different networks speak of the same classes. Embeddings and feature maps of each have axes of
    their own, so that those of two images cannot be compared, nor learned by one regressor.
    """
    for name, config in teachers.items():
        if config.folds and losses:
            raise Place(file, place_of(name)).error(
                f"folds = {config.folds}: {losses[0]} reads embeddings or feature maps, which cannot be "
                f"compared between networks; drop {losses[0]} from distillation.loss, or leave folds out"
            )


def check_listed(file: str, chosen: Sequence[str], known: Sequence[str], hints: Sequence[str]) -> None:
    """Raises StudyFileError if the trials' teachers are not those of the study.

    `chosen` are the values of distillation.teacher, `hints` the losses that read feature maps: an average has
    none.
    """
    place = Place(file, "distillation")
    for teacher in chosen:
        names = members(teacher)
        if unknown := [name for name in names if name not in known]:
            named = nearest_first(unknown[0], known)
            raise place.error(
                f"teacher = {teacher!r}: no teacher {unknown[0]!r}; known, nearest first: {named}"
            )
        if len(set(names)) < len(names):
            raise place.error(f"teacher = {teacher!r}: a teacher occurs twice in the sum")
        if len(names) > 1 and hints:
            raise place.error(
                f"teacher = {teacher!r}: {hints[0]} reads a feature map, which an average of teachers does "
                "not have; name one teacher, or drop the loss"
            )
    used = {name for teacher in chosen for name in members(teacher)}
    for name in known:
        if name not in used:
            raise StudyFileError(
                f"{file} [{place_of(name)}]: distillation.teacher does not list {name!r}; "
                "list it or drop the table"
            )
