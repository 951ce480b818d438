"""Teachers without a search: train, import, score and list them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kdsearch.cache import check, locked, sound
from kdsearch.config import Record
from kdsearch.data.sources import load_search_sets
from kdsearch.device import choose_device
from kdsearch.errors import CacheDamagedError, IdentityError, TeacherError, UsageError
from kdsearch.files import cache_root, check_writable, replacing
from kdsearch.models.measure import count_parameters
from kdsearch.models.pretrained import offered
from kdsearch.models.timm_nets import timm_names
from kdsearch.models.weights import from_bytes, load_weights, open_weights
from kdsearch.progress import Progress
from kdsearch.store import identity
from kdsearch.store.facts import TeacherFacts, is_whole
from kdsearch.store.record import StudyRecord
from kdsearch.store.storage import open_existing
from kdsearch.study.file import Study, load_study
from kdsearch.study.teachers import label, place_of
from kdsearch.teachers.folds import parts, taught, untrained
from kdsearch.teachers.ready import check_teachers, checked
from kdsearch.teachers.stored import weights_file
from kdsearch.teachers.taught import FACTS, Lesson, Taught, cache_entry, from_checkpoint, scored

SUFFIX = ".safetensors"
Values = Mapping[str, Any]  # of a study file, replaced on the command line, by table.key


class TeacherReport(Record):
    """A teacher and its accuracy."""

    name: str  # with its network, as a user knows it
    origin: str
    parameters: int
    accuracy: float  # on the validation images
    images: int  # how many those are
    path: Path | None = None  # the file with its weights, if one was written
    lines: str = ""  # of a study file, to use them


class OfferedTeacher(Record):
    """A classifier of torchvision."""

    name: str
    parameters: int  # with torchvision's own head, for 1,000 classes


class CachedTeacher(Record):
    """A teacher in this machine's cache."""

    name: str
    origin: str
    parameters: int
    accuracy: float
    folder: Path


class Teachers(Record):
    """The result of `kdsearch teacher list`."""

    offered: tuple[OfferedTeacher, ...]
    timm: int  # how many networks timm has; 0 if it is not installed
    cached: tuple[CachedTeacher, ...]


class Target(NamedTuple):
    """A file to write."""

    path: Path
    force: bool  # replace what is there

    def check(self) -> None:
        """Raises UsageError if the file cannot be written; writes a file to its folder as a test."""
        if self.path.suffix != SUFFIX:
            raise UsageError(f"--out {self.path}: the name must end in {SUFFIX}")
        if self.path.is_dir():
            raise UsageError(f"--out {self.path}: is a folder; name a file")
        if self.path.exists() and not self.force:
            raise UsageError(f"{self.path}: exists already; --force replaces it, --out names another file")
        check_writable(self.path.parent, "let --out name a file in another folder")

    def write(self, content: bytes) -> Path:
        """Writes the file at once or not at all; returns its full path. Raises as `check`; KdsearchError."""
        self.check()  # again, since a training lies in between
        cure = "free some disk and give the command again: a teacher that was trained is in the cache"
        with replacing(self.path, "teacher", cure) as whole:
            whole.write_bytes(content)
        return self.path.resolve()


def train_teachers(
    source: str, values: Values, *, name: str | None, target: Target | None, progress: Progress
) -> list[TeacherReport]:
    """Trains the teachers of the study that `source` names, or the one called `name`, into the cache.

    With a `target` the weights of one teacher are written there as well. Raises UsageError, DataError,
    TeacherError, before anything is trained if possible.
    """
    study = load_study(source, values)
    names = [_one_of(study, name)] if name or target else list(study.teachers)
    if target:
        target.check()
        if folds := study.teachers[names[0]].folds:
            raise UsageError(
                f"--out {target.path}: the teacher has folds = {folds} networks, and a checkpoint is one; "
                "leave out --out, or folds"
            )
    lessons = _lessons(study, names, progress)
    check_teachers(study, lessons[0].sets, lessons[0].device, progress, names)
    made = [(lesson, taught(lesson)) for lesson in lessons]
    return [_report(*pair, path=target.write(pair[1].weights) if target else None) for pair in made]


def import_teacher(
    file: Path, source: str, values: Values, *, name: str | None, target: Target, progress: Progress
) -> TeacherReport:
    """Reads a checkpoint as the study's teacher, scores it, writes it as safetensors. Raises TeacherError."""
    study = load_study(source, values)
    name = _one_of(study, name)
    open_weights(file).close()  # so that a wrong name is said before images are read
    target.check()
    own = {"checkpoint": str(file.absolute()), "pretrained": False, "folds": 0}
    study = study.replace(place_of(name), {**study.teachers[name].model_dump(), **own})
    (lesson,) = _lessons(study, [name], progress)
    checked(lesson)
    made = from_checkpoint(lesson)
    path = target.write(made.weights)
    return _report(lesson, made, path=path).model_copy(update={"lines": _study_lines(lesson, path)})


def evaluate_teachers(
    source: str, values: Values, name: str | None, progress: Progress
) -> list[TeacherReport]:
    """Scores the study's teachers, or the one called `name`, as they are: nothing is trained.

    A teacher is read from its checkpoint, else from the cache, else from the study's database. Raises
    TeacherError if none of these has it.
    """
    study = load_study(source, values)
    names = [_one_of(study, name)] if name else list(study.teachers)
    return [_scored(lesson, source) for lesson in _lessons(study, names, progress)]


def list_teachers() -> Teachers:
    """What torchvision has, by name, how much timm has, and what is in the cache, newest first."""
    classifiers = (OfferedTeacher(name=name, parameters=size) for name, size in offered().items())
    paths = (cache_root() / "teachers").glob(f"[!.]*/{FACTS}")
    newest_first = sorted(filter(None, map(_cached_teacher, paths)), key=lambda pair: -pair[0])
    cached = tuple(teacher for _, teacher in newest_first)
    return Teachers(offered=tuple(classifiers), timm=len(timm_names()), cached=cached)


def _cached_teacher(path: Path) -> tuple[float, CachedTeacher] | None:
    """A cached teacher with its time; None if it was cleared meanwhile, or is of another version."""
    try:
        check(path.parent, wholly=False)
        time, facts = path.stat().st_mtime, TeacherFacts.model_validate_json(path.read_bytes())
    except (CacheDamagedError, OSError, ValueError):
        return None
    numbers = facts.model_dump(include={"origin", "parameters", "accuracy"})
    return time, CachedTeacher(name=facts.model, folder=path.parent, **numbers)


def _one_of(study: Study, name: str | None) -> str:
    """`name`, or the study's only teacher. Raises UsageError if there is no such one."""
    names = ", ".join(study.teachers)
    if name is None:
        if len(study.teachers) > 1:
            raise UsageError(f"study {study.name!r} has several teachers: {names}; name one with --teacher")
        return next(iter(study.teachers))
    if name not in study.teachers:
        raise UsageError(f"--teacher {name}: study {study.name!r} has no such teacher; known: {names}")
    return name


def _lessons(study: Study, names: list[str], progress: Progress) -> list[Lesson]:
    device = choose_device(study.run.device)
    sets = load_search_sets(study.data, study.seed, progress)
    return [Lesson(study, name, sets, device, progress) for name in names]


def _scored(lesson: Lesson, asked: str) -> TeacherReport:
    if lesson.config.checkpoint is not None:
        return _report(lesson, from_checkpoint(lesson))
    weights, origin = _trained_weights(lesson, asked)
    teacher = untrained(lesson)
    load_weights(teacher, from_bytes(weights), origin)
    return TeacherReport(
        name=label(lesson.name, lesson.config.model),
        origin=origin,
        parameters=count_parameters(teacher),
        accuracy=scored(lesson, teacher).accuracy,
        images=len(lesson.sets.validation),
    )


def _trained_weights(lesson: Lesson, asked: str) -> tuple[bytes, str]:
    """The weights of a trained teacher, and their origin. Raises TeacherError."""
    if all(_is_cached(part) for part in parts(lesson)):
        return taught(lesson).weights, "trained, from the cache"
    if weights := _stored_weights(lesson):
        return weights, f"kept with study {lesson.study.name!r}"
    raise TeacherError(
        f"the teacher {label(lesson.name, lesson.config.model)} of {asked} has not been trained yet; "
        f"'kdsearch teacher train {asked}' does that"
    )


def _is_cached(lesson: Lesson) -> bool:
    path = cache_entry(lesson)
    with locked(path):
        return sound(path, lesson.progress.say)


def _stored_weights(lesson: Lesson) -> bytes | None:
    """The teacher's weights in the study's database, if it has such a study with these settings."""
    study = lesson.study
    try:
        storage = open_existing(study.run.storage)
    except UsageError:
        return None
    stored = identity.find_study(storage, study.name)
    if stored is None or not is_whole(stored):
        return None
    try:
        identity.check_settings(stored, study)
        identity.check_data(stored, study.name, lesson.sets.fingerprint)
    except IdentityError:  # another study of that name, or other images
        return None
    return StudyRecord(storage.engine, study.name).file(weights_file(lesson.name))


def _report(lesson: Lesson, made: Taught, path: Path | None = None) -> TeacherReport:
    facts = made.facts.model_dump(include={"origin", "parameters", "accuracy"})
    name, images = label(lesson.name, lesson.config.model), len(lesson.sets.validation)
    return TeacherReport(name=name, images=images, path=path, **facts)


def _study_lines(lesson: Lesson, path: Path) -> str:
    """The table of a study file that reads the weights from `path`."""
    table = {"model": lesson.config.model, "head": list(lesson.config.head), "checkpoint": str(path)}
    # Text and lists of numbers are the same in JSON and TOML.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items() if value]
    return "\n".join([f"[{place_of(lesson.name)}]", *lines])
