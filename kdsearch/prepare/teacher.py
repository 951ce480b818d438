"""The study's teacher: trained or read once, then kept with the study."""

import hashlib
import json
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kdsearch.cache import digest, entry, locked, making
from kdsearch.config import Record
from kdsearch.data.image_set import ImageSet, SearchSets
from kdsearch.device import seeded
from kdsearch.distill.objective import Objective
from kdsearch.engine.evaluate import evaluate
from kdsearch.engine.training import Labelled, Training
from kdsearch.epoch import EpochResult
from kdsearch.errors import IdentityError, TeacherError
from kdsearch.models.count import count_parameters
from kdsearch.models.teachers import Teacher, build_teacher
from kdsearch.models.weights import load_weights, read_weights, to_bytes
from kdsearch.outputs import Outputs
from kdsearch.prepare.stored import WEIGHTS, fill_teacher
from kdsearch.progress import Progress
from kdsearch.study.distillation import check_layers
from kdsearch.study.file import Study
from kdsearch.tracking.record import TEACHER_SLOT, StudyRecord
from kdsearch.views.augment import Augmentation
from kdsearch.views.batches import derived_seed
from kdsearch.views.fresh import FreshBatches

VERSION = 2  # part of the cache key: raise it when the same settings train another teacher


class TeacherFacts(Record):
    """What is known of a teacher besides its weights."""

    model: str
    origin: str  # trained, from what, or the checkpoint's file name
    parameters: int
    accuracy: float  # on the validation split
    fingerprint: str  # sha256 of the weights
    curve: tuple[EpochResult, ...] = ()


class Taught(NamedTuple):
    """A teacher's weights, in the bytes of a safetensors file, with its facts."""

    weights: bytes
    facts: TeacherFacts


def answer(teacher: nn.Module, images: Tensor) -> Outputs:
    """A teacher answers with Outputs by itself."""
    outputs: Outputs = teacher(images)
    return outputs


def prepare_teacher(
    study: Study, sets: SearchSets, record: StudyRecord, device: torch.device, progress: Progress
) -> tuple[Teacher, TeacherFacts]:
    """The study's teacher on `device`, frozen, in evaluation mode.

    The first to come trains it or reads its checkpoint and writes it into the record; everyone else, on any
    machine, reads it there and runs it no more. Raises TeacherError for a checkpoint that does not fit,
    IdentityError for one that is not the study's.
    """
    teacher = _built(study, sets)
    _check_size(study, teacher)
    for loss, space in study.losses.items():
        check_layers(loss, space, teacher.shapes.hints, study.teacher.model)
    stored = record.file(WEIGHTS)
    if stored is None:
        given = study.teacher.checkpoint is not None
        make = _from_checkpoint if given else _trained_once
        _store(record, make(study, teacher, sets, device, progress))
    elif study.teacher.checkpoint and Path(study.teacher.checkpoint).expanduser().exists():
        _read_checkpoint(study, teacher)
        if to_bytes(teacher.state_dict()) != stored:
            raise IdentityError(
                f"teacher.checkpoint {study.teacher.checkpoint}: not the teacher that study {study.name!r} "
                "was created with; give that file, or start another study with --name"
            )
    return _load(record, teacher, device)


def _built(study: Study, sets: SearchSets, *, from_pretrained: bool = False) -> Teacher:
    """The teacher with first weights, which are torchvision's if `from_pretrained`."""
    config, train = study.teacher, sets.train
    shape = len(train.classes), train.images.shape[-1]
    with seeded(derived_seed(study.seed, "teacher")):
        return build_teacher(
            config.model, *shape, *train.mean_std(), head=config.head, from_pretrained=from_pretrained
        )


def _check_size(study: Study, teacher: Teacher) -> None:
    """Raises TeacherError where the students may be larger than their teacher."""
    parameters = count_parameters(teacher)
    if parameters < study.max_params and not study.teacher.allow_smaller:
        raise TeacherError(
            f"[teacher] model: {study.teacher.model} has {parameters:,} parameters, fewer than "
            f"budget.max_params = {study.max_params:,}; choose a larger one, lower the budget, "
            "or set allow_smaller = true"
        )


def _store(record: StudyRecord, taught: Taught) -> None:
    """Facts and curve first: whoever finds the weights finds the rest, whenever the writer died."""
    for result in taught.facts.curve:
        record.epoch(TEACHER_SLOT, 0, result)
    record.put_file(f"teacher-{taught.facts.fingerprint}.json", taught.facts.model_dump_json().encode())
    record.put_file(WEIGHTS, taught.weights)


def _load(record: StudyRecord, teacher: Teacher, device: torch.device) -> tuple[Teacher, TeacherFacts]:
    """What is stored now: another machine may have been first."""
    facts = record.file(f"teacher-{_sha256(fill_teacher(record, teacher, device))}.json")
    assert facts is not None, "facts are written before weights"
    return teacher, TeacherFacts.model_validate_json(facts)


def _read_checkpoint(study: Study, teacher: Teacher) -> Path:
    """Fills the teacher from its file: torchvision's own state dict, or one that kdsearch wrote."""
    path = Path(study.teacher.checkpoint or "").expanduser()
    weights = read_weights(path)
    load_weights(teacher if "mean" in weights else teacher.net, weights, str(path))
    return path


def _from_checkpoint(
    study: Study, teacher: Teacher, sets: SearchSets, device: torch.device, progress: Progress
) -> Taught:
    path = _read_checkpoint(study, teacher)
    score = evaluate(teacher.to(device), answer, *_labelled(sets.validation, device))
    return _taught(teacher, study, path.name, score.accuracy, ())


def _trained_once(
    study: Study, teacher: Teacher, sets: SearchSets, device: torch.device, progress: Progress
) -> Taught:
    """From the cache, where another study has trained the same teacher on the same data, else trained now."""
    teaching = study.teacher.model_dump(exclude={"checkpoint", "allow_smaller"})
    settings = [teaching, study.augmentation.model_dump(), Augmentation.VERSION, study.seed]
    path = entry("teachers", digest(sets.fingerprint, settings, device.type, VERSION))
    with locked(path):
        if not path.exists():
            if study.teacher.pretrained:  # only now: a teacher that was trained once needs no download
                teacher = _built(study, sets, from_pretrained=True)
            taught = _train(study, teacher, sets, device, progress)
            with making(path, len(taught.weights) + 2**20) as folder:
                (folder / WEIGHTS).write_bytes(taught.weights)
                (folder / "facts.json").write_text(taught.facts.model_dump_json(), encoding="utf-8")
    facts = TeacherFacts.model_validate(json.loads((path / "facts.json").read_text(encoding="utf-8")))
    return Taught((path / WEIGHTS).read_bytes(), facts)


def _train(
    study: Study, teacher: Teacher, sets: SearchSets, device: torch.device, progress: Progress
) -> Taught:
    training = _teacher_training(study, sets, device)(teacher)
    epochs = study.teacher.epochs
    progress.step("teacher", 0, epochs)
    best, weights = None, {}
    for result in training:
        if best is None or result.val_accuracy > best.val_accuracy:
            best, weights = result, {name: t.clone() for name, t in teacher.state_dict().items()}
        progress.step("teacher", result.epoch + 1, epochs, f"validation accuracy {best.val_accuracy:.2%}")
        if result.epoch - best.epoch >= study.teacher.patience:
            progress.step("teacher", epochs, epochs, f"validation accuracy {best.val_accuracy:.2%}")
            break
    assert best is not None, "a teacher trains for at least one epoch"
    if not isfinite(best.val_loss):
        raise TeacherError(
            f"[teacher]: training diverged at learning_rate = {study.teacher.learning_rate:g}; lower it"
        )
    teacher.load_state_dict(weights)
    origin = "trained from torchvision's weights" if study.teacher.pretrained else "trained"
    return _taught(teacher, study, origin, best.val_accuracy, tuple(training.results))


def _teacher_training(
    study: Study, sets: SearchSets, device: torch.device
) -> Callable[[nn.Module], Training]:
    settings = study.teacher
    config = Training.Config(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        ema_epochs=0.0,
    )
    seed = derived_seed(study.seed, "teacher")
    images, labels = _labelled(sets.train, device)
    augment = Augmentation(study.augmentation, images.shape[-1])
    batches = FreshBatches(images, labels, augment, settings.batch_size, seed)
    validation = _labelled(sets.validation, device)

    def make(teacher: nn.Module) -> Training:
        return Training(teacher, Objective([], 0.0), config, batches, validation, seed=seed, answer=answer)

    return make


def _labelled(images: ImageSet, device: torch.device) -> Labelled:
    return Labelled(images.images.to(device), images.labels.to(device))


def _taught(
    teacher: Teacher, study: Study, origin: str, accuracy: float, curve: tuple[EpochResult, ...]
) -> Taught:
    weights = to_bytes(teacher.state_dict())
    facts = TeacherFacts(
        model=study.teacher.model,
        origin=origin,
        parameters=count_parameters(teacher),
        accuracy=accuracy,
        fingerprint=_sha256(weights),
        curve=curve,
    )
    return Taught(weights, facts)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
