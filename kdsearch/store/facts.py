"""All that kdsearch keeps with a study and its trials in Optuna: each fact is a user attribute of its name.

Facts are read and written here and nowhere else, so that no other module knows the attributes' names.
"""

import time
from enum import StrEnum
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, Trial
from pydantic import ConfigDict, ValidationError
from pydantic_core import to_jsonable_python

from kdsearch.config import Record
from kdsearch.epoch import EpochResult
from kdsearch.errors import StorageError
from kdsearch.store.runs import SEARCH, Run

ONLY_KNOWN = ConfigDict(extra="ignore")  # a newer version, or the user, may keep more
TEST_READ = "test_read."  # and a trial's number


class End(StrEnum):
    """Why a trial ended as it did, where Optuna's state does not say it."""

    SURPLUS = "surplus"  # another trial has its slot
    DUPLICATE = "duplicate"  # another trial trains the same
    INTERRUPTED = "interrupted"  # saved, to be continued
    DIVERGED = "diverged"
    FAILED = "failed"  # it raised an exception
    LOST = "lost"  # its worker died


class WorkerMark(Record):
    """The process that works on a trial or prepares a run."""

    model_config = ONLY_KNOWN

    host: str
    processes: str  # names the process table that has the process
    pid: int
    since: float  # seconds from the machine's start to the process's
    trial: int | None = None  # the number of the worker's trial


class StudentFacts(Record):
    """A trial's student, and what made it."""

    model_config = ONLY_KNOWN

    config: dict[str, Any]  # a TrialConfig; not as one, since that loads torch
    parameters: int
    macs: int
    seed: int | None = None
    commit: str | None = None
    versions: str | None = None
    device: str | None = None
    threads: str | None = None
    data_fingerprint: str | None = None

    @property
    def network(self) -> dict[str, Any]:
        """The config of the student alone."""
        network: dict[str, Any] = self.config["student"]
        return network

    @property
    def family(self) -> str:
        """The student's family, or the name of the published network."""
        family: str = self.network.get("network") or self.network["family"]
        return family

    @property
    def loss(self) -> str:
        """The name of the distillation loss, or sum of losses; `ce` without any."""
        loss: str = self.config["loss"]
        return loss

    @property
    def provenance(self) -> dict[str, str]:
        """What is needed, besides config and seed, to train the student again, as far as it is known."""
        names = {"commit", "versions", "device", "threads", "data_fingerprint"}
        facts: dict[str, str] = self.model_dump(include=names, exclude_none=True)
        return facts


class Audited(Record):
    """When the pruner would have stopped a trial that runs on, and the best accuracy of that time."""

    model_config = ONLY_KNOWN

    epoch: int
    best: float


class TrialFacts(Record):
    """What kdsearch keeps with a trial."""

    model_config = ONLY_KNOWN

    phase: str = SEARCH
    slot: int | None = None  # the run's place
    attempt: int | None = None
    baseline: bool = False  # an enqueued recipe
    worker: WorkerMark | None = None
    key: str | None = None  # what the trial trains; there once all parameters are drawn
    student: StudentFacts | None = None
    audited: Audited | None = None
    val_loss: float | None = None
    mark: End | None = None
    reason: str | None = None  # one line, of a trial that failed

    @property
    def run(self) -> Run | None:
        """What the trial is for; None for one that was asked when the queue was just empty."""
        if self.slot is None or self.attempt is None:
            return None
        return Run(self.phase, self.slot, self.attempt)

    @classmethod
    def of_run(cls, run: Run, **others: Any) -> "TrialFacts":
        """What is known of a trial that is enqueued for `run`."""
        facts: dict[str, Any] = {"slot": run.place, "attempt": run.attempt, **others}
        return cls(**facts if run.phase == SEARCH else {"phase": run.phase, **facts})


class DataFacts(Record):
    """The images that a study was created with."""

    model_config = ONLY_KNOWN

    name: str
    fingerprint: str
    train: int
    validation: int
    classes: tuple[str, ...]
    image_size: int
    channels: int


class TeacherFacts(Record):
    """What is known of a teacher besides its weights."""

    model_config = ONLY_KNOWN

    model: str
    origin: str  # trained, from what, or the checkpoint's file name
    parameters: int
    accuracy: float  # on the validation split
    fingerprint: str  # sha256 of the weights
    curve: tuple[EpochResult, ...] = ()  # in the record, not with the study


class ModelPlace(Record):
    """Where MLflow has the best trial's model."""

    model_config = ONLY_KNOWN

    trial: int
    tracking_uri: str  # without its password
    uri: str


class FinalTest(Record):
    """What the test images said of a trial's student, when they were read."""

    model_config = ONLY_KNOWN

    accuracy: float  # 0 to 1
    images: int
    copies: int  # identical to a training image
    read: str  # the day


class StudyFacts(Record):
    """What kdsearch keeps with a study; `study` is written last when it is created."""

    model_config = ONLY_KNOWN

    kdsearch: str = "unknown"  # the version that created it
    data: DataFacts
    views: int
    given_teachers: tuple[str, ...] = ()  # those that a file was given for
    params: dict[str, str]  # what its trials may sample: a `number` or a `choice`
    study: dict[str, Any]  # the study file, less what may differ between two runs
    target: int = 0
    last_run: float = 0.0  # seconds since 1970
    preparing: WorkerMark | None = None  # the process that prepared the latest run
    teachers: dict[str, TeacherFacts] | None = None  # by name, once they are ready
    data_path: str | None = None
    tracking_uri: str | None = None  # one without a secret
    comparison: str | None = None  # the page of a tracking server that compares the trials
    model: ModelPlace | None = None


CREATED = ("data", "views", "params", "study")  # what a study has once it is created whole
CREATING = {*CREATED, "given_teachers"}
CREATOR = "kdsearch"  # the first fact that is written
PHASE_OF = "phase_of"  # with a phase's own study: the name of the study that it belongs to


def trial_facts(trial: FrozenTrial) -> TrialFacts:
    """What is kept with a trial; nothing where its attributes are not kdsearch's."""
    try:
        return TrialFacts.model_validate(trial.user_attrs)
    except ValidationError:
        return TrialFacts()


def study_facts(study: optuna.Study) -> StudyFacts:
    """What is kept with a study that kdsearch created whole. Raises StorageError if somebody changed it."""
    try:
        return StudyFacts.model_validate(study.user_attrs)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise StorageError(
            f"study {study.study_name!r}: its attribute {where} in the database is not what kdsearch wrote; "
            "restore it, or use the version of kdsearch that wrote it"
        ) from None


def is_whole(study: optuna.Study | FrozenStudy) -> bool:
    """Whether the study has all that kdsearch creates one with: its creator may have died too early."""
    return all(name in study.user_attrs for name in CREATED)


def last_run(study: FrozenStudy) -> float:
    """When the study was last run, in seconds since 1970."""
    kept = study.user_attrs.get("last_run")
    return kept if isinstance(kept, float) else 0.0


def is_foreign(study: optuna.Study) -> bool:
    """Whether another program created the study; not so where our own creator died between two writes."""
    attributes = study.user_attrs
    if CREATOR in attributes or is_whole(study):
        return False
    if attributes.keys() - CREATING or study.directions != [StudyDirection.MAXIMIZE]:
        return True
    return bool(study.get_trials(deepcopy=False))


def parent_of(study: optuna.Study | FrozenStudy) -> str | None:
    """The name of the study whose phase this one holds."""
    name: str | None = study.user_attrs.get(PHASE_OF)
    return name


def keep_parent(study: optuna.Study, name: str) -> None:
    """Keeps it with a study in which there is nothing yet."""
    if not study.user_attrs and not study.get_trials(deepcopy=False):
        study.set_user_attr(PHASE_OF, name)


def attributes_of(facts: TrialFacts) -> dict[str, Any]:
    """The attributes of a trial that is enqueued with `facts`: of each that was named when they were made."""
    return facts.model_dump(mode="json", include=facts.model_fields_set)


def keep(where: Trial | optuna.Study, **facts: Any) -> None:
    """Keeps facts of a trial or a study, each under its field's name, in the order given."""
    known = (TrialFacts if isinstance(where, Trial) else StudyFacts).model_fields
    for name, value in facts.items():
        assert name in known, name
        where.set_user_attr(name, to_jsonable_python(value, inf_nan_mode="constants"))


def keep_end(study: optuna.Study, trial: FrozenTrial, end: End) -> None:
    """Keeps how a trial of another process ended."""
    study._storage.set_trial_user_attr(trial._trial_id, "mark", end)


def inherited(trial: FrozenTrial) -> dict[str, Any]:
    """The attributes that a trial leaves to the one that continues it: all but its end."""
    return {name: value for name, value in trial.user_attrs.items() if name != "mark"}


def final_test(study: optuna.Study, trial: int) -> FinalTest | None:
    """What the test images said of this trial's student, if they were read."""
    kept = study.user_attrs.get(f"{TEST_READ}{trial}")
    return FinalTest.model_validate(kept) if kept else None


def keep_final_test(study: optuna.Study, trial: int, final: FinalTest) -> None:
    """Keeps it, with the time."""
    study.set_user_attr(f"{TEST_READ}{trial}", {**final.model_dump(), "at": time.time()})
