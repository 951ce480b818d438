"""The tables of a study file that are the same for the whole study. Loads no torch."""

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from kdsearch.config import Record

STORAGE = "sqlite:///kdsearch.db"
IMAGENET = "imagenet"  # published weights, for the 1,000 classes of ImageNet
FOLDER = "folder"  # the name of an image set that is a user's own
FOLDER_SIZE = 128  # pixels a side, unless the study says so
Fit = Literal["crop", "whole"]  # how a picture becomes a square: its centre, or all of it with another aspect


class DataConfig(Record):
    """The image set, its size, and how to make a validation split if it has none."""

    name: str = "digits"  # digits, a torchvision data set by its class name, or folder
    path: str | None = None  # the folder of the files (--data)
    image_size: Annotated[int | None, Field(ge=4)] = None  # pixels a side; none: native, 128 for folders
    source_size: Annotated[int | None, Field(ge=4)] = None  # training crops are cut from; none: as fits
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.2  # share of the training split, held out
    train_images: Annotated[int | None, Field(ge=2)] = None  # a stratified part of the training split only
    fit: Fit = "crop"  # of a folder's images
    skip_corrupt: bool = False
    allow_duplicates: bool = False  # between given training and validation splits

    @property
    def known_size(self) -> int | None:
        """Pixels a side of the images; None if these are the set's own."""
        return self.image_size or (FOLDER_SIZE if self.name == FOLDER else None)

    @model_validator(mode="after")
    def _larger_source(self) -> Self:
        size = self.known_size
        if size is not None and self.source_size is not None and self.source_size < size:
            raise ValueError(
                f"source_size = {self.source_size} is below image_size = {size}; give at least as much, "
                "or leave it out"
            )
        return self


class AugmentationConfig(Record):
    """Random changes to training images."""

    crop: Literal["none", "padded", "resized"] = "padded"
    padding: Annotated[float, Field(ge=0, lt=1)] = 0.125  # of the side, at each edge, for `padded`
    scale: Annotated[float, Field(gt=0, le=1)] = 0.5  # smallest share of the area, for `resized`
    flip: bool = False
    policy: Literal["none", "trivial", "rand"] = "none"  # TrivialAugmentWide, RandAugment
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0  # degrees, to either side
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.0  # strength of brightness, contrast, saturation
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.0  # probability of a blank rectangle
    mixup: Annotated[float, Field(ge=0, le=1)] = 0.0  # share of images blended with another one
    cutmix: Annotated[float, Field(ge=0, le=1)] = 0.0  # share of images with a rectangle of another one

    @model_validator(mode="after")
    def _one_mix(self) -> Self:
        if self.mixup + self.cutmix > 1:
            raise ValueError("mixup and cutmix are shares of the images, whose sum is at most 1; lower one")
        return self


class ViewsConfig(Record):
    """How many views a study wants, and the disk that they may take."""

    count: Annotated[int, Field(ge=1)] = 8
    bank_gib: Annotated[float, Field(gt=0)] = 8.0


class BudgetConfig(Record):
    """The hard caps on a student: its parameters, trainable or not, and its multiply-adds for one image."""

    max_params: Annotated[int, Field(ge=100)] = 60_000
    max_macs: Annotated[int | None, Field(ge=1000)] = None  # none: any number


def weights_origin(pretrained: object) -> object:
    """Returns `pretrained` if it can say where weights come from. Raises ValueError."""
    if isinstance(pretrained, bool) or (isinstance(pretrained, str) and pretrained.strip()):
        return pretrained
    raise ValueError(f'must be true, false, "{IMAGENET}", or the path of a file')


class TeacherConfig(Record):
    """The teacher: a classifier of torchvision or timm, trained on the study's data or from a checkpoint."""

    model: str = "resnet18"
    image_size: Annotated[int | None, Field(ge=4)] = None  # pixels a side that it sees; none: the student's
    head: tuple[Annotated[int, Field(ge=1)], ...] = ()  # hidden widths of a new one; none: a single layer
    folds: Annotated[int, Field(ge=0)] = 0  # of the training images, each with a network that lacks it
    checkpoint: str | None = None  # a state dict of that model for these classes
    pretrained: Annotated[bool | str, BeforeValidator(weights_origin)] = False  # its first weights
    body_rate: Annotated[float, Field(gt=0, le=1)] = 1.0  # the body's learning rate, as a share of the head's
    freeze_epochs: Annotated[int, Field(ge=0)] = 0  # at first, in which only the head trains
    allow_smaller: bool = False  # to have fewer parameters than a student may
    epochs: Annotated[int, Field(ge=1)] = 30
    patience: Annotated[int, Field(ge=1)] = 5  # epochs without a better validation accuracy, then it stops
    batch_size: Annotated[int, Field(ge=2)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 5e-2
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @property
    def origin(self) -> str | None:
        """The first weights: `imagenet` for published ones, a file's path, or None for random ones."""
        return (IMAGENET if self.pretrained is True else self.pretrained) or None

    @property
    def each_fold(self) -> tuple[int | None, ...]:
        """The fold that each of its networks lacks; None for a single network, which lacks none."""
        return tuple(range(self.folds)) or (None,)

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if self.pretrained and self.checkpoint is not None:
            raise ValueError("pretrained and checkpoint both say what the weights are; give one of them")
        if self.folds and self.checkpoint is not None:
            raise ValueError(f"folds = {self.folds} trains networks, and checkpoint is one; give one of them")
        if self.folds == 1:
            raise ValueError("folds = 1 leaves no images to train on; give at least 2, or 0 for one network")
        return self


class PublishedResult(Record):
    """The recipe that a study reproduces, and its published result."""

    recipe: str = ""
    result: str = ""


Form = Literal["safetensors", "source", "onnx", "pt2", "int8"]  # of an export


class Wanted(Record):
    """What an export holds: a trial's student, or the best within limits; as it is: the study's winner."""

    trial: int | None = None
    max_params: int | None = None
    max_macs: int | None = None
    forms: tuple[Form, ...] = ()  # none: all

    def admits(self, trial: int, parameters: int, macs: int) -> bool:
        return (
            self.trial in (None, trial)
            and (self.max_params is None or parameters <= self.max_params)
            and (self.max_macs is None or macs <= self.max_macs)
        )

    @property
    def is_other(self) -> bool:
        """Whether it may be another student than the study's winner."""
        return self.trial is not None or bool(self.limits)

    @property
    def limits(self) -> str:
        """The limits in words; empty if there are none."""
        limits = {"parameters": self.max_params, "multiply-adds": self.max_macs}
        return " and ".join(f"at most {most:,} {what}" for what, most in limits.items() if most is not None)


ANY = Wanted()


class SearchConfig(Record):
    """How Optuna chooses and stops trials."""

    sampler: Literal["tpe", "random"] = "tpe"
    pruner: Literal["median", "none"] = "median"
    audit: Annotated[float, Field(ge=0, le=1)] = 0.05  # share of the weak trials that runs on, marked


class FinalistsConfig(Record):
    """The trainings after the search: its best trials again, with several seeds each."""

    count: Annotated[int, Field(ge=0)] = 3  # of the search's best trials; 0: none
    seeds: Annotated[int, Field(ge=1)] = 3  # trainings of each
    epochs: Annotated[int | None, Field(ge=1)] = None  # of each training; none: as many as the trial had
    prefer: Literal["accuracy", "small"] = "accuracy"  # of those that cannot be told apart from the best


def auto_or_number(workers: object) -> object:
    """Returns `workers` if it is `auto` or a number of at least 1. Raises ValueError."""
    if not re.fullmatch(r"auto|[1-9]\d*", str(workers)):
        raise ValueError('must be "auto", or a number of at least 1 as text, such as "4"')
    return str(workers)


class RunConfig(Record):
    """The settings that may differ between two runs of one study."""

    trials: Annotated[int, Field(ge=1)] = 100
    workers: Annotated[str, BeforeValidator(auto_or_number)] = "auto"
    device: str = "auto"
    storage: str = STORAGE
    tracking_uri: str | None = None  # none: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db
