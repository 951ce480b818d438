"""Gets a teacher's weights: from a checkpoint, or by training, once on each machine."""

import hashlib
import json
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kdsearch.cache import check, digest, entry, locked, making, sound
from kdsearch.data.image_set import ImageSet, SearchSets
from kdsearch.data.split import folds
from kdsearch.device import CPU, autocast, has_bfloat16, placed, seeded
from kdsearch.distill.objective import Objective
from kdsearch.engine.evaluate import Score, evaluate
from kdsearch.engine.training import Labelled, Training
from kdsearch.epoch import EpochResult
from kdsearch.errors import TeacherError
from kdsearch.files import expanded, open_regular
from kdsearch.models.measure import count_parameters
from kdsearch.models.teachers import Teacher, build_teacher
from kdsearch.models.timm_nets import is_timm
from kdsearch.models.weights import load_weights, read_weights, to_bytes
from kdsearch.outputs import Outputs
from kdsearch.progress import Progress
from kdsearch.store.facts import TeacherFacts
from kdsearch.study.file import Study
from kdsearch.study.teachers import ONLY, place_of
from kdsearch.tables import IMAGENET, TeacherConfig
from kdsearch.teachers.fine_tuning import FineTuning
from kdsearch.views.augment import Augmentation, reduced
from kdsearch.views.batches import FreshBatches, derived_seed
from kdsearch.views.mixing import mixing_of

VERSION = 4  # part of the cache key: raise it when the same settings train another teacher
WEIGHTS, FACTS = "teacher.safetensors", "facts.json"  # the files of a cache entry


class Taught(NamedTuple):
    """A teacher's weights, in the bytes of a safetensors file, with its facts."""

    weights: bytes
    facts: TeacherFacts


class Lesson(NamedTuple):
    """One of a study's teachers, and all inputs of its training."""

    study: Study
    name: str
    sets: SearchSets
    device: torch.device
    progress: Progress
    fold: int | None = None  # of the training images, that this network must not see

    @property
    def config(self) -> TeacherConfig:
        return self.study.teachers[self.name]

    @property
    def task(self) -> str:
        task = "teacher" if self.name == ONLY else f"teacher {self.name}"
        return f"{task}{self.which}"

    @property
    def which(self) -> str:
        """Names the fold after the teacher's name, or after what is said of it."""
        return "" if self.fold is None else f", fold {self.fold + 1} of {self.config.folds}"

    @property
    def seed(self) -> int:
        seed = teacher_seed(self.study, self.name)
        return seed if self.fold is None else derived_seed(seed, "fold", self.fold)

    @property
    def train(self) -> ImageSet:
        """The images that the network is trained on."""
        whole = self.sets.train
        return whole if self.fold is None else whole.select((self.split() != self.fold).nonzero().flatten())

    def split(self) -> Tensor:
        """The fold of each training image: the same for all teachers with as many folds."""
        return folds(self.sets.train, self.config.folds, derived_seed(self.study.seed, "folds"))

    @property
    def image_size(self) -> int:
        """Pixels a side of the images that the teacher sees."""
        return self.config.image_size or self.sets.train.image_size

    def validation(self) -> Labelled:
        """The validation images at the teacher's size, on the device if that has room for them."""
        chosen = self.sets.validation
        images = (
            chosen.images if self.image_size == chosen.image_size else reduced(chosen.pixels, self.image_size)
        )
        return Labelled(placed(images, self.device), chosen.labels.to(self.device))

    def network(self, origin: str | None = None) -> Teacher:
        """The teacher with its first weights: random ones, or those of `origin`. Raises TeacherError."""
        train, head = self.sets.train, self.config.head
        shape = len(train.classes), self.image_size
        with seeded(self.seed):
            return build_teacher(self.config.model, *shape, *train.mean_std(), head=head, origin=origin)


def teacher_seed(study: Study, name: str) -> int:
    """A seed from the name: two teachers with the same settings start from different weights."""
    return derived_seed(study.seed, "teacher", *(() if name == ONLY else (name,)))


def answer(teacher: nn.Module, images: Tensor) -> Outputs:
    """The output that a Training expects, which for a teacher is its Outputs unchanged."""
    outputs: Outputs = teacher(images)
    return outputs


def read_checkpoint(lesson: Lesson) -> Teacher:
    """The teacher from its file: torchvision's own state dict, or one that kdsearch wrote."""
    path = expanded(lesson.config.checkpoint or "")
    weights = read_weights(path)
    teacher = lesson.network()
    load_weights(teacher if "mean" in weights else teacher.net, weights, str(path))
    return teacher


def from_checkpoint(lesson: Lesson) -> Taught:
    """The teacher from its file, with its accuracy on the validation split."""
    teacher = read_checkpoint(lesson)
    score = scored(lesson, teacher)
    if not isfinite(score.loss):
        raise TeacherError(
            f"{lesson.config.checkpoint}: outputs for the validation images are not finite; give another file"
        )
    return with_facts(lesson, teacher, Path(lesson.config.checkpoint or "").name, score.accuracy)


def scored(lesson: Lesson, teacher: nn.Module, *, bfloat16: bool = False) -> Score:
    with autocast(CPU, bfloat16=bfloat16):
        return evaluate(teacher.to(lesson.device), answer, *lesson.validation())


def cache_entry(lesson: Lesson) -> Path:
    """The cache entry of the trained network, whether it exists or not."""
    return entry_of(lesson.study, lesson.name, lesson.sets.fingerprint, lesson.device.type, lesson.fold)


def entry_of(study: Study, name: str, images: str, device: str, fold: int | None) -> Path:
    """The cache entry of a network that was trained on images of this fingerprint, on this kind of device."""
    config = study.teachers[name]
    settings = config.model_dump(exclude={"checkpoint", "allow_smaller", "folds"})
    if fold is not None:
        settings["fold"] = fold, config.folds
    if config.origin and config.origin != IMAGENET:
        settings["pretrained"] = _content(expanded(config.origin))
    augmentation = study.augmentation.model_dump(), Augmentation.VERSION
    return entry(
        "teachers", digest(images, settings, augmentation, teacher_seed(study, name), device, VERSION)
    )


def _content(path: Path) -> str:
    """Names what is in a file: the path alone says nothing of that. The path, if there is no file."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return str(path)


def read_entry(path: Path) -> Taught:
    """Reads and checks a cache entry. Raises CacheDamagedError."""
    check(path, wholly=True)
    facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
    return Taught((path / WEIGHTS).read_bytes(), TeacherFacts.model_validate(facts))


def trained_once(lesson: Lesson) -> Taught:
    """The network from the cache, if it was trained there on the same data, else trained now.

    Raises KdsearchError before the training if the disk has no room for it.
    """
    path = cache_entry(lesson)
    with locked(path):
        if not sound(path, lesson.progress.say):
            size = sum(tensor.nbytes for tensor in lesson.network().state_dict().values())
            with making(path, size + 2**20) as folder:
                made = _train(lesson)
                (folder / WEIGHTS).write_bytes(made.weights)
                (folder / FACTS).write_text(made.facts.model_dump_json(), encoding="utf-8")
        return read_entry(path)


def _train(lesson: Lesson) -> Taught:
    config, tell = lesson.config, lesson.progress.step
    teacher = lesson.network(config.origin)
    training = _training(lesson, teacher)
    tell(lesson.task, 0, config.epochs)
    best, weights = None, {}
    for result in training:
        if best is None or result.val_accuracy > best.val_accuracy:
            best, weights = result, {name: t.clone() for name, t in teacher.state_dict().items()}
        note = f"validation accuracy {best.val_accuracy:.2%}"
        tell(lesson.task, result.epoch + 1, config.epochs, note)
        if result.epoch - best.epoch >= config.patience:
            tell(lesson.task, config.epochs, config.epochs, note)
            break
    assert best is not None, "a teacher trains for at least one epoch"
    if not isfinite(best.val_loss):
        rate = f"learning_rate = {config.learning_rate:g}"
        raise TeacherError(f"[{place_of(lesson.name)}]: training diverged at {rate}; lower it")
    teacher.load_state_dict(weights)
    return with_facts(lesson, teacher, origin_of(lesson), best.val_accuracy, tuple(training.results))


def origin_of(lesson: Lesson) -> str:
    """The origin of a teacher that was trained."""
    config, library = lesson.config, "timm" if is_timm(lesson.config.model) else "torchvision"
    source = f"{library}'s weights" if config.origin == IMAGENET else Path(config.origin or "").name
    return (f"trained from {source}" if config.origin else "trained") + lesson.which


def _training(lesson: Lesson, teacher: Teacher) -> Training:
    settings = lesson.config
    config = Training.Config(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        label_smoothing=settings.label_smoothing,
        ema_epochs=0.0,
    )
    train = lesson.train
    images, labels = placed(train.pixels, lesson.device), train.labels.to(lesson.device)
    augment = Augmentation(lesson.study.augmentation, lesson.image_size)
    mixing = mixing_of(lesson.study.augmentation)
    batches = FreshBatches(images, labels, augment, settings.batch_size, lesson.seed, mixing=mixing)
    return FineTuning(
        teacher,
        Objective([], 0.0, settings.label_smoothing),
        config,
        batches,
        lesson.validation(),
        seed=lesson.seed,
        answer=answer,
        body_rate=settings.body_rate,
        freeze_epochs=settings.freeze_epochs,
    )


def with_facts(
    lesson: Lesson,
    teacher: nn.Module,
    origin: str,
    accuracy: float,
    curve: tuple[EpochResult, ...] = (),
) -> Taught:
    weights = to_bytes(teacher.state_dict())
    halved = has_bfloat16(lesson.device)
    facts = TeacherFacts(
        model=lesson.config.model,
        origin=origin,
        parameters=count_parameters(teacher),
        accuracy=accuracy,
        fingerprint=sha256(weights),
        bfloat16=scored(lesson, teacher, bfloat16=True).accuracy if halved else None,
        curve=curve,
    )
    return Taught(weights, facts)


def sha256(content: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(content).hexdigest()
