"""A study's trials as Records: what the terminal shows and the mirror sends. Loads no torch."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import optuna
import tomli_w
from optuna.trial import FrozenTrial, TrialState
from pydantic import Field

from kdsearch.config import Record
from kdsearch.progress import Standing
from kdsearch.search.audit import AUDITED, Audit, audit
from kdsearch.search.crew import living, worker_of
from kdsearch.search.failures import is_failure
from kdsearch.search.ledger import Ledger, ledger
from kdsearch.search.pace import rate_of
from kdsearch.search.slots import MARK, is_finished, slot_of
from kdsearch.study.teachers import ONLY, place_of
from kdsearch.tracking.runs import ALPHA, FAMILY, LOSS, StudyRow, TrialRow
from kdsearch.tracking.slot import Slot
from kdsearch.tracking.uri import how_to_compare

PROVENANCE = ("commit", "versions", "device", "threads", "data_fingerprint")
SHOWN = 5
PAGE = "comparison"  # user attribute: the page of a tracking server that compares the trials


class Ranked(Record):
    """One complete trial, as a table shows it."""

    trial: int
    accuracy: float
    val_loss: float
    parameters: int
    macs: int
    family: str  # or the name of a published network
    loss: str


class Summary(Record):
    """A study at the end of a run."""

    study: str
    storage: str
    finished: int
    target: int
    complete: int
    pruned: int
    failed: int
    validation_images: int
    teacher: str | None  # the best one
    teacher_accuracy: float | None
    best: tuple[Ranked, ...]
    best_without_teacher: Ranked | None
    best_with_teacher: Ranked | None
    ledger: Ledger
    audit: Audit
    seconds: dict[str, float] = Field(default_factory=dict)  # of this run, by part
    beside: dict[str, float] = Field(default_factory=dict)  # what other processes did meanwhile
    overhead: float = 0.0  # seconds of the study itself: sampling, storage, record, checkpoints, mirror
    best_run_id: str | None = None  # of the best trial, in MLflow, if its model is still to be logged
    tracking_uri: str | None = None  # as the study file or the command line has it
    compare: str | None = None  # how to see the trials in MLflow
    loading: tuple[str, ...] = ()  # Python that loads the best model from MLflow
    notes: tuple[str, ...] = ()


class Status(Record):
    """A study as it stands, for `kdsearch status`."""

    study: str
    target: int
    finished: int
    complete: int
    pruned: int
    failed: int
    running: int
    workers: int
    best: Ranked | None
    per_hour: float | None
    seconds_left: float | None
    compare: str  # the page of a tracking server, or the command that opens one


def status(study: optuna.Study) -> Status:
    """The study as it stands; the rate is that of its latest finished trials, while somebody works on it."""
    now, best, attributes = standing(study), ranked(study), study.user_attrs
    workers = (worker for trial in living(study) if (worker := worker_of(trial)))
    crew = {(each["host"], each["pid"]) for each in workers}
    rate = rate_of(study.get_trials(deepcopy=False)) if crew else None
    return Status(
        study=study.study_name,
        target=now.target,
        finished=now.finished,
        complete=now.complete,
        pruned=now.pruned,
        failed=now.failed,
        running=now.running,
        workers=len(crew),
        best=_entry(best[0]) if best else None,
        per_hour=3600 * rate if rate else None,
        seconds_left=(now.target - now.finished) / rate if rate else None,
        compare=how_to_compare(attributes.get("tracking_uri"), attributes.get(PAGE), study.study_name),
    )


def trial_rows(study: optuna.Study, known: dict[int, TrialRow] | None = None) -> list[TrialRow]:
    """Every trial that has a slot; ended ones do not change and are kept in `known`, by number."""
    kept = {} if known is None else known
    trials = [trial for trial in study.get_trials(deepcopy=False) if slot_of(trial)]
    kept |= {t.number: _row(t, trials) for t in trials if t.state.is_finished() and t.number not in kept}
    return [kept.get(trial.number) or _row(trial, trials) for trial in trials]


def _row(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> TrialRow:
    slot = slot_of(trial)
    assert slot is not None, "only trials with a slot become rows"
    attributes = trial.user_attrs
    student: dict[str, Any] = attributes.get("student", {})
    params = {**_shape(student["config"]), **trial.params} if student else dict(trial.params)
    return TrialRow(
        number=trial.number,
        slot=slot.place,
        attempt=slot.attempt,
        state=trial.state.name,
        params=params,
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        val_loss=attributes.get("val_loss"),
        parameters=student.get("parameters"),
        macs=student.get("macs"),
        reason=attributes.get("reason"),
        mark=attributes.get(MARK),
        failed=is_failure(trial, trials),
        baseline=bool(attributes.get("baseline")),
        started=_seconds(trial.datetime_start),
        finished=_seconds(trial.datetime_complete),
        audited_epoch=attributes[AUDITED]["epoch"] if AUDITED in attributes else None,
        tags={name: student[name] for name in PROVENANCE if name in student},
    )


def _shape(config: dict[str, Any]) -> dict[str, Any]:
    """What every trial is compared by, searched or not."""
    return {FAMILY: _family(config["student"]), LOSS: config["loss"], ALPHA: config["alpha"]}


def _family(network: dict[str, Any]) -> str:
    """Of a published network its name."""
    family: str = network.get("network") or network["family"]
    return family


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def study_row(study: optuna.Study) -> StudyRow:
    """What the parent run tells; `study` must have been created whole."""
    attributes = study.user_attrs
    stored, known = attributes["study"], attributes.get("teachers", {})
    return StudyRow(
        name=study.study_name,
        file_text=tomli_w.dumps(_without_none(stored)),
        data=attributes["data"],
        teachers={place_of(name): known.get(name, {}) for name in stored.get("teachers") or [ONLY]},
        seed=stored["seed"],
        target=attributes.get("target", 0),
        best="{}.{}".format(*best) if (best := best_slot(study)) else None,
        losses={loss: _of_loss(attributes["params"], loss) for loss in stored.get("losses") or {}},
    )


def _of_loss(params: dict[str, Any], loss: str) -> tuple[str, ...]:
    return tuple(name for name in params if name.startswith(f"{loss}."))


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    """TOML has no null: a key that is None is one that was left out."""
    pairs = (
        (key, _without_none(value) if isinstance(value, dict) else value) for key, value in table.items()
    )
    return {key: value for key, value in pairs if value is not None}


def ranked(study: optuna.Study) -> list[FrozenTrial]:
    """The complete trials, best first; ties go to the lower validation loss, then to fewer parameters."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted((trial for trial in trials if "student" in trial.user_attrs), key=_rank)


def best_slot(study: optuna.Study) -> Slot | None:
    """The slot of the best complete trial."""
    best = ranked(study)
    return slot_of(best[0]) if best else None


def _rank(trial: FrozenTrial) -> tuple[float, float, int]:
    attributes = trial.user_attrs
    return -(trial.value or 0.0), attributes.get("val_loss", math.inf), attributes["student"]["parameters"]


def _entry(trial: FrozenTrial) -> Ranked:
    student = trial.user_attrs["student"]
    network = student["config"]["student"]
    return Ranked(
        trial=trial.number,
        accuracy=trial.value or 0.0,
        val_loss=trial.user_attrs.get("val_loss", math.nan),
        parameters=student["parameters"],
        macs=student["macs"],
        family=_family(network),
        loss=student["config"]["loss"],
    )


def standing(study: optuna.Study, before: int = 0, seconds: float = 0.0) -> Standing:
    """Where the study stands; the rate is that of the `seconds` since `before` trials were finished."""
    trials = study.get_trials(deepcopy=False)
    finished = [trial.state for trial in trials if is_finished(trial)]
    complete, pruned = finished.count(TrialState.COMPLETE), finished.count(TrialState.PRUNED)
    target = study.user_attrs.get("target", 0)
    done = complete + pruned - before
    rate = done / seconds if done > 0 and seconds > 0 else None
    return Standing(
        target=target,
        complete=complete,
        pruned=pruned,
        failed=sum(is_failure(trial, trials) for trial in trials),
        running=sum(trial.state == TrialState.RUNNING for trial in trials),
        best=max(
            (trial.value or 0.0 for trial in trials if is_finished(trial) and trial.value is not None),
            default=None,
        ),
        per_hour=3600 * rate if rate else None,
        seconds_left=(target - complete - pruned) / rate if rate else None,
    )


def summary(study: optuna.Study, storage: str) -> Summary:
    """The study as the terminal shows it at the end."""
    now, best = standing(study), [_entry(trial) for trial in ranked(study)]
    teachers = study.user_attrs.get("teachers", {})
    teacher: dict[str, Any] = max(teachers.values(), key=lambda facts: facts["accuracy"], default={})
    return Summary(
        study=study.study_name,
        storage=storage,
        finished=now.finished,
        target=now.target,
        complete=now.complete,
        pruned=now.pruned,
        failed=now.failed,
        validation_images=study.user_attrs["data"]["validation"],
        teacher=teacher.get("model"),
        teacher_accuracy=teacher.get("accuracy"),
        best=tuple(best[:SHOWN]),
        best_without_teacher=next((entry for entry in best if entry.loss == "ce"), None),
        best_with_teacher=next((entry for entry in best if entry.loss != "ce"), None),
        ledger=ledger(study),
        audit=audit(study),
    )


def finished_count(study: optuna.Study) -> int:
    """How many trials count, see `slots.is_finished`."""
    return sum(map(is_finished, study.get_trials(deepcopy=False)))
