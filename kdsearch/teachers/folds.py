"""A study's teacher as a whole: one network, or those of its folds."""

from itertools import chain

from kdsearch.errors import TeacherError
from kdsearch.models.folded import Folded
from kdsearch.models.teachers import Teacher
from kdsearch.models.weights import from_bytes, load_weights
from kdsearch.study.teachers import place_of
from kdsearch.teachers.taught import (
    Lesson,
    Taught,
    from_checkpoint,
    origin_of,
    scored,
    trained_once,
    with_facts,
)


def parts(lesson: Lesson) -> list[Lesson]:
    """The trainings that make the teacher."""
    return [lesson._replace(fold=fold) for fold in lesson.config.each_fold]


def untrained(lesson: Lesson) -> Teacher | Folded:
    """The teacher before weights are read into it."""
    network, folds = lesson.network(), lesson.config.folds
    return Folded(network, folds, len(lesson.sets.train)) if folds else network


def taught(lesson: Lesson) -> Taught:
    """The teacher from its checkpoint, or trained. Raises TeacherError."""
    if lesson.config.checkpoint is not None:
        return from_checkpoint(lesson)
    made = [trained_once(part) for part in parts(lesson)]
    teacher = untrained(lesson)
    if not isinstance(teacher, Folded):
        return made[0]
    for network, part in zip(teacher.networks, made, strict=True):
        load_weights(network, from_bytes(part.weights), lesson.task)
    teacher.fold.copy_(lesson.split())
    origin = f"{origin_of(lesson)}, the mean of {len(made)} folds' networks"
    curves = chain.from_iterable(part.facts.curve for part in made)
    curve = tuple(result.model_copy(update={"epoch": epoch}) for epoch, result in enumerate(curves))
    return with_facts(lesson, teacher, origin, scored(lesson, teacher).accuracy, curve)


def check_folds(lesson: Lesson) -> None:
    """Raises TeacherError if a class has too few different images for one in each fold."""
    folds, train = lesson.config.folds, lesson.sets.train
    if not folds:
        return
    split = lesson.split()
    for number, name in enumerate(train.classes):
        if (has := len(set(split[train.labels == number].tolist()))) < folds:
            raise TeacherError(
                f"{lesson.study.file} [{place_of(lesson.name)}] folds = {folds}: class {name!r} has {has} "
                "different training images; give no more folds than that, or leave folds out"
            )
