"""A study's teachers: trained or read once, then kept with the study."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import torch

from kdsearch.data.image_set import SearchSets
from kdsearch.errors import IdentityError, TeacherError
from kdsearch.files import expanded
from kdsearch.models.folded import Folded
from kdsearch.models.measure import count_parameters
from kdsearch.models.teachers import Teacher
from kdsearch.models.weights import to_bytes
from kdsearch.progress import Progress
from kdsearch.store.facts import TeacherFacts
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import TEACHER, Run
from kdsearch.study.distillation import check_layers
from kdsearch.study.file import Study
from kdsearch.study.teachers import label, place_of
from kdsearch.teachers.folds import check_folds, parts, taught, untrained
from kdsearch.teachers.stored import fill_teacher, weights_file
from kdsearch.teachers.taught import Lesson, Taught, cache_entry, read_checkpoint, sha256


class Ready(NamedTuple):
    """A trained teacher and its facts."""

    network: Teacher | Folded
    facts: TeacherFacts


def check_teachers(
    study: Study, sets: SearchSets, device: torch.device, progress: Progress, names: Sequence[str] = ()
) -> list[int]:
    """Raises TeacherError for mistakes that can be seen before a teacher is trained and a study created.

    Checks all teachers that the study needs, or those in `names`; returns the widths of their embeddings.
    Downloads the weights from which one starts.
    """
    embeddings = []
    for name in names or needed(study):
        lesson = Lesson(study, name, sets, device, progress)
        embeddings.append(checked(lesson).shapes.embedding)
        check_folds(lesson)
        own, source = lesson.config.image_size, lesson.sets.train.pixels.shape[-1]
        if own is not None and own > source:
            progress.say(
                f"teacher {label(name, lesson.config.model)}: its images are enlarged from {source} to {own} "
                f"pixels; if the files have more, give data.source_size = {own}"
            )
        if lesson.config.checkpoint is not None:
            read_checkpoint(lesson)
        elif lesson.config.origin and not all(cache_entry(part).exists() for part in parts(lesson)):
            lesson.network(lesson.config.origin)
    return embeddings


def needed(study: Study) -> tuple[str, ...]:
    """The names of the teachers that some trial may learn from."""
    return tuple(study.teachers) if study.losses else ()


def prepare_teachers(
    study: Study, sets: SearchSets, record: StudyRecord, device: torch.device, progress: Progress
) -> dict[str, Ready]:
    """The study's teachers by name, on `device`, frozen, in evaluation mode.

    The first process trains them or reads their checkpoints and writes them into the record; all others, on
    any machine, read them there. There are none if no trial learns from a teacher. Raises TeacherError for
    weights that do not fit, and IdentityError for a checkpoint that is not the study's.
    """
    lessons = [Lesson(study, name, sets, device, progress) for name in needed(study)]
    for lesson in lessons:
        checked(lesson)
    return {lesson.name: _prepared(lesson, record) for lesson in lessons}


def checked(lesson: Lesson) -> Teacher:
    """The untrained network.

    Raises TeacherError if students may be larger, or ask for hints it lacks, or see larger images.
    """
    study, config = lesson.study, lesson.config
    check_size(lesson)
    teacher = lesson.network()
    parameters = count_parameters(teacher)
    if parameters < study.max_params and not config.allow_smaller:
        raise TeacherError(
            f"[{place_of(lesson.name)}] model: {config.model} has {parameters:,} parameters, fewer than "
            f"budget.max_params = {study.max_params:,}; choose a larger one, lower the budget, "
            "or set allow_smaller = true"
        )
    for loss in study.hint_losses:
        check_layers(loss, study.losses[loss], teacher.shapes.hints, config.model)
    return teacher


def check_size(lesson: Lesson) -> None:
    """Raises TeacherError if the teacher sees smaller images than students, or if a loss forbids larger ones.

    Feature maps are not stored: the teacher computes them anew from the view's images, which are as large as
    students see them.
    """
    size, own = lesson.sets.train.image_size, lesson.config.image_size
    place = f"{lesson.study.file} [{place_of(lesson.name)}] image_size = {own}"
    if own is not None and own < size:
        raise TeacherError(f"{place}: below the student's {size}; give at least as much, or leave it out")
    if own not in {None, size} and (hints := lesson.study.hint_losses):
        raise TeacherError(
            f"{place}: {hints[0]} reads feature maps, which the teacher makes of the student's images; leave "
            f"image_size out, or drop {hints[0]} from distillation.loss"
        )


def _prepared(lesson: Lesson, record: StudyRecord) -> Ready:
    """Stores the teacher and reads it back: another machine may have been first."""
    name, checkpoint = lesson.name, lesson.config.checkpoint
    stored = record.file(weights_file(name))
    if stored is None:
        _store(record, lesson, taught(lesson))
    elif checkpoint and os.access(expanded(checkpoint), os.F_OK):
        _check_same(lesson, stored)
    teacher = untrained(lesson)
    weights = fill_teacher(record, name, teacher, lesson.device)
    facts = record.file(_facts_file(name, sha256(weights)))
    assert facts is not None, "facts are written before weights"
    known = TeacherFacts.model_validate_json(facts)
    _keep_curve(record, lesson, known)
    return Ready(teacher, known)


def _check_same(lesson: Lesson, stored: bytes) -> None:
    if to_bytes(read_checkpoint(lesson).state_dict()) != stored:
        raise IdentityError(
            f"{place_of(lesson.name)}.checkpoint {lesson.config.checkpoint}: not the teacher that study "
            f"{lesson.study.name!r} was created with; give that file, or start another study with --name"
        )


def _store(record: StudyRecord, lesson: Lesson, made: Taught) -> None:
    """Writes the facts before the weights: weights never exist without them, even if the writer died."""
    record.put_file(_facts_file(lesson.name, made.facts.fingerprint), made.facts.model_dump_json().encode())
    record.put_file(weights_file(lesson.name), made.weights)


def _keep_curve(record: StudyRecord, lesson: Lesson, facts: TeacherFacts) -> None:
    """Keeps only the curve of the stored weights: two machines may have trained the teacher at once."""
    place = list(lesson.study.teachers).index(lesson.name)
    run = Run(TEACHER, place, 0)
    if record.epochs(run) != list(facts.curve):
        record.replace_epochs(run, facts.curve)


def _facts_file(name: str, fingerprint: str) -> str:
    return f"teacher-{name}-{fingerprint}.json"
