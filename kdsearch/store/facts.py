"""All that kdsearch keeps with a study and its trials in Optuna: each fact is a user attribute of its name.

Facts are read and written here and nowhere else, so that no other module knows the attributes' names. What
is not known is ignored: a newer version, or the user, may keep more.
"""

import time
from enum import StrEnum
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, Trial
from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from kdsearch.config import Record
from kdsearch.epoch import EpochResult
from kdsearch.errors import StorageError
from kdsearch.store.final_test import FinalTest
from kdsearch.store.runs import SEARCH, Candidate, Run
from kdsearch.study.teachers import ONLY, members
from kdsearch.tables import FinalistsConfig


class End(StrEnum):
    """Why a trial ended as it did, if Optuna's state does not say it."""

    SURPLUS = "surplus"  # another trial has its place
    DUPLICATE = "duplicate"  # another trial trains the same
    INTERRUPTED = "interrupted"  # saved, to be continued
    DIVERGED = "diverged"
    FAILED = "failed"  # it raised an exception
    LOST = "lost"  # its worker died


class WorkerMark(Record, extra="ignore"):
    """The process that works on a trial or prepares a run."""

    host: str
    processes: str  # names the process table that has the process
    pid: int
    since: float  # seconds from the machine's start to the process's
    trial: int | None = None  # the number of the worker's trial


class StudentFacts(Record, extra="ignore"):
    """A trial's student, and what made it."""

    config: dict[str, Any]  # a TrialConfig; not as one, since that loads torch
    parameters: int
    macs: int
    active: tuple[str, ...] | None = None  # the sampled parameters that `config` depends on; none: all
    seed: int | None = None
    commit: str | None = None
    versions: str | None = None
    device: str | None = None
    threads: str | None = None
    data_fingerprint: str | None = None

    @property
    def network(self) -> dict[str, Any]:
        """The config of the student alone."""
        return dict(self.config["student"])

    @property
    def family(self) -> str:
        """The student's family, or the name of the published network."""
        return str(self.network.get("network") or self.network["family"])

    @property
    def loss(self) -> str:
        """The name of the distillation loss, or sum of losses; `ce` without any."""
        return str(self.config["loss"])

    @property
    def losses(self) -> tuple[str, ...]:
        return tuple(self.config["losses"])

    @property
    def alpha(self) -> float:
        return float(self.config["alpha"])

    @property
    def teachers(self) -> tuple[str, ...]:
        """The names of the teachers from which the trial learns."""
        return members(self.config["teacher"]) if self.losses else ()

    @property
    def epochs(self) -> int:
        return int(self.config["training"]["epochs"])

    @property
    def provenance(self) -> dict[str, str]:
        """What is needed, besides config and seed, to train the student again, as far as it is known."""
        names = {"commit", "versions", "device", "threads", "data_fingerprint"}
        return dict(self.model_dump(include=names, exclude_none=True))


class Audited(Record, extra="ignore"):
    """When the pruner would have stopped a trial that runs on, and the best accuracy of that time."""

    epoch: int
    best: float


class TrialFacts(Record, extra="ignore"):
    """What kdsearch keeps with a trial."""

    phase: str = SEARCH
    slot: int | None = None  # the run's place
    attempt: int | None = None
    baseline: bool = False  # an enqueued recipe
    worker: WorkerMark | None = None
    key: str | None = None  # what the trial trains; there once all parameters are drawn
    student: StudentFacts | None = None
    audited: Audited | None = None
    candidate: Candidate | None = None  # of a finalist's training
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


class DataFacts(Record, extra="ignore"):
    """The images that a study was created with."""

    name: str
    fingerprint: str
    train: int
    validation: int
    classes: tuple[str, ...]
    image_size: int
    channels: int


class TeacherFacts(Record, extra="ignore"):
    """What is known of a teacher besides its weights."""

    model: str
    origin: str  # trained, from what, or the checkpoint's file name
    parameters: int
    accuracy: float  # on the validation split
    fingerprint: str  # sha256 of the weights
    bfloat16: float | None = None  # the accuracy in bfloat16, if a CPU was there that has it
    curve: tuple[EpochResult, ...] = ()  # in the record, not with the study


class ModelPlace(Record, extra="ignore"):
    """Where MLflow has the best trial's model."""

    trial: int
    tracking_uri: str  # without its password
    uri: str


class StudyFacts(Record, extra="ignore"):
    """What kdsearch keeps with a study; `study` is written last when it is created."""

    kdsearch: str = "unknown"  # the version that created it
    data: DataFacts
    views: int
    given_teachers: tuple[str, ...] = ()  # those that a file was given for
    params: dict[str, str]  # what its trials may sample: a `number` or a `choice`
    study: dict[str, Any]  # the study file, less what may differ between two runs
    target: int = 0
    finalists: FinalistsConfig | None = None  # of the latest run; None: created before there were any
    candidates: tuple[Candidate, ...] = ()  # by place; only ever longer, so that a resume trains the same
    last_run: float = 0.0  # seconds since 1970
    preparing: WorkerMark | None = None  # the process that prepared the latest run
    teachers: dict[str, TeacherFacts] | None = None  # by name, once they are ready
    outside: dict[str, tuple[float, ...]] | None = None  # by teacher: see views/softness.py
    data_path: str | None = None
    tracking_uri: str | None = None  # one without a secret
    comparison: str | None = None  # the page of a tracking server that compares the trials
    model: ModelPlace | None = None

    @property
    def seed(self) -> int:
        return int(self.study["seed"])

    @property
    def teacher_names(self) -> list[str]:
        """The teachers in the study file's order; `ONLY` for one without a table of its own."""
        return list(self.study.get("teachers") or [ONLY])

    @property
    def searched_losses(self) -> dict[str, tuple[str, ...]]:
        """The parameters that trials may sample for each of the study's losses."""
        losses = self.study.get("losses") or {}
        return {loss: tuple(name for name in self.params if name.startswith(f"{loss}.")) for loss in losses}


TEST_READ = "test_read."  # and what was delivered
CREATED = ("data", "views", "params", "study")  # what a study has once it is created whole
CREATOR = "kdsearch"  # the first fact that is written
PHASE_OF = "phase_of"  # with a phase's own study: the name of the study that it belongs to


def trial_facts(trial: FrozenTrial) -> TrialFacts:
    """What is kept with a trial; nothing if its attributes are not kdsearch's."""
    try:
        return TrialFacts.model_validate(trial.user_attrs)
    except ValidationError:
        return TrialFacts()


def study_facts(study: optuna.Study) -> StudyFacts:
    """What is kept with a study that kdsearch created whole. Raises StorageError if somebody changed it."""
    try:
        return StudyFacts.model_validate(study.user_attrs)
    except ValidationError as error:
        name = ".".join(map(str, error.errors()[0]["loc"]))
        raise StorageError(
            f"study {study.study_name!r}: its attribute {name} in the database is not what kdsearch wrote; "
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
    """Whether another program created the study; not so if our own creator died between two writes."""
    attributes = study.user_attrs
    if CREATOR in attributes or is_whole(study):
        return False
    if attributes.keys() - {*CREATED, "given_teachers"} or study.directions != [StudyDirection.MAXIMIZE]:
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


def keep(owner: Trial | optuna.Study, **facts: Any) -> None:
    """Keeps facts of a trial or a study, each under its field's name, in the order given."""
    known = (TrialFacts if isinstance(owner, Trial) else StudyFacts).model_fields
    for name, value in facts.items():
        assert name in known, name
        owner.set_user_attr(name, to_jsonable_python(value, inf_nan_mode="constants"))


def keep_end(study: optuna.Study, trial: FrozenTrial, end: End) -> None:
    """Keeps how a trial of another process ended."""
    study._storage.set_trial_user_attr(trial._trial_id, "mark", end)


def inherited(trial: FrozenTrial) -> dict[str, Any]:
    """The attributes that a trial leaves to the one that continues it: all but its end."""
    return {name: value for name, value in trial.user_attrs.items() if name != "mark"}


def final_test(study: optuna.Study, delivered: int | str) -> FinalTest | None:
    """What the test images said, if they were read; `delivered` is a trial's number or a finalist's name."""
    kept = study.user_attrs.get(f"{TEST_READ}{delivered}")
    return FinalTest.model_validate(kept) if kept else None


def keep_final_test(study: optuna.Study, delivered: int | str, final: FinalTest) -> None:
    study.set_user_attr(f"{TEST_READ}{delivered}", {**final.model_dump(), "at": time.time()})
