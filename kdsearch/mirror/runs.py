"""What MLflow is told of a study and its trials: names, parameters, tags, metrics. Knows no MLflow."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field

from kdsearch.config import Record
from kdsearch.epoch import EpochResult
from kdsearch.store.facts import End
from kdsearch.store.runs import Candidate, Run

State = Literal["WAITING", "RUNNING", "COMPLETE", "PRUNED", "FAIL"]

STATUS = {"RUNNING": "RUNNING", "COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}

LAYOUT = "2"  # of a run's names, parameters and tags: runs of another one are written anew
LAYOUT_TAG = "kdsearch.layout"
STUDY_TAG = "kdsearch.study_id"  # which study's record, whatever its name
KIND_TAG = "kdsearch.kind"
TRIAL, FINALIST, TEACHER, STUDY = "trial", "finalist", "teacher", "study"
NUMBER_TAGS = ("trial", "training")  # of a trial of the search; of a finalist's training
FAMILY, LOSS, ALPHA = "student.family", "distillation.loss", "distillation.alpha"
EPOCHS = "training.epochs"


class TrialRow(Record):
    """One Optuna trial as the mirror sees it."""

    number: int
    run: Run  # what names the MLflow run for ever, through deaths and retries
    state: State
    params: dict[str, Any] = Field(default_factory=dict)  # what was sampled; family, loss and alpha always
    value: float | None = None
    val_loss: float | None = None
    parameters: int | None = None
    macs: int | None = None
    reason: str | None = None  # why it failed or was pruned
    mark: End | None = None
    failed: bool = False  # for good: by an exception, or it lost its worker too often
    candidate: Candidate | None = None  # of a finalist's training
    baseline: bool = False  # an enqueued recipe
    audited_epoch: int | None = None  # at which the pruner would have stopped it
    started: float | None = None  # seconds since 1970
    finished: float | None = None
    tags: dict[str, str] = Field(default_factory=dict)  # commit, versions, device, data fingerprint


class StudyRow(Record):
    """The facts of the study in the parent run."""

    name: str
    file_text: str  # the resolved study file
    data: dict[str, Any] = Field(default_factory=dict)  # name, fingerprint, train, validation, classes
    # By the teacher's table in the study file: model, accuracy, ...; empty: not known yet.
    teachers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    seed: int = 0
    target: int = 0
    best: str | None = None  # the key of the best trial's run
    winner: str | None = None  # of the run whose student is delivered, if finalists are trained
    losses: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # the parameters of each, by its name


class Point(NamedTuple):
    """One value of a metric; equal points written twice are one."""

    key: str
    value: float
    timestamp: int  # milliseconds since 1970
    step: int


def milliseconds(seconds: float | None) -> int:
    """MLflow's unit of time; 0 for a time that nobody knows."""
    return int((seconds or 0) * 1000)


def has_run(trial: TrialRow, results: Sequence[EpochResult]) -> bool:
    """Whether a trial is worth a run: it has trained an epoch, or will never do so.

    A trial that has only just started may yet turn out to be surplus or a duplicate, and the parameters of
    one that died early are still to be sampled by its retry.
    """
    return bool(results) or trial.state in ("COMPLETE", "PRUNED") or trial.failed


def shown(trials: Sequence[TrialRow]) -> list[TrialRow]:
    """The one trial of each run that MLflow shows, by number.

    A finished one before all others; else the retry, once it has its parameters. Surplus and duplicate
    trials have no run.
    """
    real = [row for row in trials if row.state != "WAITING" and row.mark not in (End.SURPLUS, End.DUPLICATE)]
    real.sort(key=lambda row: (row.state in ("COMPLETE", "PRUNED"), len(row.params), row.number))
    return sorted({row.run.key: row for row in real}.values(), key=lambda row: row.number)


def run_name(study: StudyRow, trial: TrialRow, results: Sequence[EpochResult]) -> str:
    """Number, family, loss, size and how it ended: `041 plain ce 23.1k 99.65`; a star before the best."""
    which = trial.candidate
    words = [
        f"finalist {which.trial:03d} seed {which.seed}" if which else f"{trial.number:03d}",
        *(str(trial.params[name]) for name in (FAMILY, LOSS) if name in trial.params),
    ]
    if trial.parameters is not None:
        words.append(f"{trial.parameters / 1000:.1f}k")
    if trial.state == "COMPLETE" and trial.value is not None:
        words.append(f"{100 * trial.value:.2f}")
    elif trial.state == "PRUNED":
        words.append(f"pruned at epoch {results[-1].epoch}" if results else "pruned")
    elif trial.state == "FAIL":
        words.append(trial.mark or "failed")
    return " ".join(["\N{BLACK STAR}", *words] if trial.run.key in (study.best, study.winner) else words)


def trial_params(trial: TrialRow) -> dict[str, str]:
    """What the trial has, rounded; the record keeps every digit.

    A parameter that it does not have is left out: any word for it would hide the trial in MLflow's charts.
    """
    return {name: rounded(value) for name, value in trial.params.items()}


def rounded(value: object) -> str:
    """Six significant digits of a float, anything else as it is."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def trial_tags(
    study: StudyRow, trial: TrialRow, results: Sequence[EpochResult], common: Mapping[str, str]
) -> dict[str, str]:
    """Its name, how it ended, and where it ran as far as that differs from `common`, the parent's tags."""
    tags = {name: value for name, value in trial.tags.items() if common.get(name) != value}
    tags |= {
        KIND_TAG: FINALIST if trial.candidate else TRIAL,
        LAYOUT_TAG: LAYOUT,
        "mlflow.runName": run_name(study, trial, results),
    }
    tags |= {NUMBER_TAGS[trial.candidate is not None]: str(trial.number), "state": trial.state}
    tags |= {
        name.partition(".")[2]: str(trial.params[name]) for name in (FAMILY, LOSS) if name in trial.params
    }
    tags |= {"mark": trial.mark} if trial.mark else {}
    tags |= {"reason": trial.reason[:1000]} if trial.reason else {}
    if trial.candidate:
        tags |= {"phase": trial.run.phase, "finalist": str(trial.candidate.trial)}
        tags["seed"] = str(trial.candidate.seed)
    if trial.baseline:
        tags["baseline"] = "true"
    if trial.audited_epoch is not None:
        tags["audited_epoch"] = str(trial.audited_epoch)
    if trial.state == "PRUNED" and results:
        tags["pruned_epoch"] = str(results[-1].epoch)
    return tags


def trial_points(trial: TrialRow, results: Sequence[EpochResult]) -> Iterator[Point]:
    """For a complete trial the final values, then the curves and the sizes.

    Accuracy comes first, since MLflow's Compare page opens on a run's first metric. Timestamps are
    the record's, so that the same trial gives the same points whenever it is asked.
    """
    first = milliseconds(results[0].finished_at if results else trial.started)
    last = milliseconds(results[-1].finished_at if results else trial.started)
    step = results[-1].epoch if results else 0
    if trial.state == "COMPLETE":
        for name, value in {"final_accuracy": trial.value, "final_loss": trial.val_loss}.items():
            if value is not None:
                yield Point(name, value, last, step)
    yield from curve(results)
    for name, size in {"parameters": trial.parameters, "macs": trial.macs}.items():
        if size is not None:
            yield Point(name, size, first, 0)


def curve(results: Sequence[EpochResult]) -> Iterator[Point]:
    """Each epoch's values under one name for the whole curve."""
    for result in results:
        values = {
            "val_accuracy": result.val_accuracy,
            "val_loss": result.val_loss,
            "train_loss": result.train_loss,
            "learning_rate": result.learning_rate,
            "images_per_second": result.images_per_second,
            "epoch_seconds": result.seconds,
        }
        values |= {f"train_{name}": part for name, part in result.parts.items()}
        for name, value in values.items():
            yield Point(name, value, milliseconds(result.finished_at), result.epoch)


def teacher_points(facts: Mapping[str, Any], results: Sequence[EpochResult]) -> Iterator[Point]:
    """A teacher's curve, and its accuracy under a name of its own, so that it ranks among no students."""
    yield from curve(results)
    if "accuracy" in facts:
        last = milliseconds(results[-1].finished_at if results else None)
        yield Point("teacher_accuracy", float(facts["accuracy"]), last, 0)


def study_params(study: StudyRow) -> dict[str, str]:
    """The parent run's parameters: the seed, the data, the teachers."""
    params = {"seed": str(study.seed)}
    for table, facts in {"data": study.data, **study.teachers}.items():
        params |= {f"{table}.{name}": rounded(value) for name, value in facts.items()}
    return params
