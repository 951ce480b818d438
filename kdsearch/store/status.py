"""The state of a study, as the terminal shows it."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping

import optuna
from optuna.trial import FrozenTrial, TrialState
from pydantic import Field

from kdsearch.config import Record
from kdsearch.progress import Standing
from kdsearch.store.facts import StudyFacts, study_facts
from kdsearch.store.finalist_table import FinalistTable, finalist_table
from kdsearch.store.finalists import trainings_of
from kdsearch.store.liveness import living, worker_of
from kdsearch.store.runs import SEARCH
from kdsearch.store.studies import with_phases
from kdsearch.store.trials import StudyTrial, Trials

SHOWN = 5
LATEST = 20  # trials that the rate is taken from
PAUSE_SECONDS = 60.0  # a longer time without a trial is no work


class Ranked(Record):
    """One complete trial, as a table shows it."""

    trial: int
    accuracy: float
    val_loss: float
    parameters: int
    macs: int
    family: str  # or the name of a published network
    loss: str


class Ledger(Record):
    """Numbers of images for which teachers ran, without their own training."""

    answered: int  # once for each view and teacher, and live for feature maps, which no view holds
    in_every_step: int  # had each step of each finished trial asked the trial's teachers, finalists too


class Audit(Record):
    """The result of a study's audit so far."""

    trials: int  # that were to be stopped, and ran on to their end
    wrong: int  # of these, above the best value of the time at which they would have stopped


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
    finalists: FinalistTable | None = None
    seconds: dict[str, float] = Field(default_factory=dict)  # of this run, by part
    beside: dict[str, float] = Field(default_factory=dict)  # what other processes did meanwhile
    overhead: float = 0.0  # seconds of the study itself: sampling, storage, record, checkpoints, mirror
    best_run_id: str | None = None  # of the best trial, in MLflow, if its model is still to be logged
    tracking_uri: str | None = None  # as the study file or the command line has it
    compare: str | None = None  # how to see the trials in MLflow
    loading: tuple[str, ...] = ()  # Python that loads the best model from MLflow
    notes: tuple[str, ...] = ()


class PhaseStatus(Record):
    """One phase of a study as it stands."""

    phase: str
    target: int
    finished: int
    failed: int
    running: int
    best: float | None  # validation accuracy, 0 to 1


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
    phases: tuple[PhaseStatus, ...] = ()  # the search too, if there is another one
    finalists: FinalistTable | None = None


def status(study: optuna.Study, compare: str, targets: Mapping[str, int] = {}) -> Status:
    """The study as it stands; the rate is that of its latest finished trials, while somebody works on it.

    `targets` are those of its phases, by name; left out: the search is the only one.
    """
    trials = Trials.of(study)
    now = standing(study_facts(study).target, trials)
    workers = (worker for trial in living(study, trials) if (worker := worker_of(trial)))
    crew = {(each.host, each.pid) for each in workers}
    rate = rate_of(trial.frozen for trial in trials.finished) if crew else None
    return Status(
        study=study.study_name,
        target=now.target,
        finished=now.finished,
        complete=now.complete,
        pruned=now.pruned,
        failed=now.failed,
        running=now.running,
        workers=len(crew),
        best=_entry(trials.best) if trials.best else None,
        per_hour=3600 * rate if rate else None,
        seconds_left=(now.target - now.finished) / rate if rate else None,
        compare=compare,
        phases=tuple(_phases(study, targets)),
        finalists=finalist_table(study),
    )


def _phases(study: optuna.Study, targets: Mapping[str, int]) -> Iterator[PhaseStatus]:
    by_name = {own.study_name: Trials.of(own) for own in with_phases(study)} if targets else {}
    for phase, target in targets.items():
        name = study.study_name if phase == SEARCH else f"{study.study_name}/{phase}"
        now = standing(target, by_name.get(name, Trials([])))
        yield PhaseStatus(
            phase=phase,
            target=target,
            finished=now.finished,
            failed=now.failed,
            running=now.running,
            best=now.best,
        )


def _entry(trial: StudyTrial) -> Ranked:
    student = trial.facts.student
    assert student is not None, "only a trial with a student is ranked"
    return Ranked(
        trial=trial.number,
        accuracy=trial.accuracy,
        val_loss=math.nan if trial.facts.val_loss is None else trial.facts.val_loss,
        parameters=student.parameters,
        macs=student.macs,
        family=student.family,
        loss=student.loss,
    )


def standing(target: int, trials: Trials, before: int = 0, seconds: float = 0.0) -> Standing:
    """Where a study stands; the rate is that of the `seconds` since `before` trials were finished."""
    finished = [trial.state for trial in trials.finished]
    complete, pruned = finished.count(TrialState.COMPLETE), finished.count(TrialState.PRUNED)
    done = complete + pruned - before
    rate = done / seconds if done > 0 and seconds > 0 else None
    return Standing(
        target=target,
        complete=complete,
        pruned=pruned,
        failed=len(trials.failures),
        running=len(trials.in_state(TrialState.RUNNING)),
        best=trials.best.accuracy if trials.best else None,
        per_hour=3600 * rate if rate else None,
        seconds_left=(target - complete - pruned) / rate if rate else None,
    )


def summary(study: optuna.Study, storage: str, hint_losses: Collection[str]) -> Summary:
    """The study as the terminal shows it at the end; `hint_losses` as for `ledger`."""
    facts, trials = study_facts(study), Trials.of(study)
    now, best = standing(facts.target, trials), [_entry(trial) for trial in trials.ranked]
    teacher = max((facts.teachers or {}).values(), key=lambda each: each.accuracy, default=None)
    return Summary(
        study=study.study_name,
        storage=storage,
        finished=now.finished,
        target=now.target,
        complete=now.complete,
        pruned=now.pruned,
        failed=now.failed,
        validation_images=facts.data.validation,
        teacher=teacher.model if teacher else None,
        teacher_accuracy=teacher.accuracy if teacher else None,
        best=tuple(best[:SHOWN]),
        best_without_teacher=next((entry for entry in best if entry.loss == "ce"), None),
        best_with_teacher=next((entry for entry in best if entry.loss != "ce"), None),
        ledger=ledger(facts, [trials, trainings_of(study)], hint_losses),
        audit=audit(trials),
        finalists=finalist_table(study),
    )


def rate_of(finished: Iterable[FrozenTrial]) -> float | None:
    """Trials a second, over the latest LATEST of these finished ones; None for fewer than two.

    Of the time from the first one's start to the last one's end, pauses are left out: times in which none of
    them ran.
    """
    spans = [
        (trial.datetime_complete.timestamp(), trial.datetime_start.timestamp())
        for trial in finished
        if trial.datetime_start and trial.datetime_complete
    ]
    latest = sorted((start, end) for end, start in sorted(spans)[-LATEST:])
    busy, reached = 0.0, latest[0][0] if latest else 0.0
    for start, end in latest:
        since = reached if start - reached <= PAUSE_SECONDS else start
        busy += max(0.0, end - since)
        reached = max(reached, end)
    return len(latest) / busy if len(latest) > 1 and busy > 0 else None


def ledger(study: StudyFacts, phases: Iterable[Trials], hint_losses: Collection[str]) -> Ledger:
    """Of the finished trials of a study's phases, and of the views that one machine makes for them.

    `hint_losses` are the losses that read feature maps.
    """
    live = steps = 0
    for trial in (trial for trials in phases for trial in trials.finished):
        student, seen = trial.facts.student, study.data.train * trial.epochs
        if student:
            steps += seen * len(student.teachers)
            live += seen if any(loss in hint_losses for loss in student.losses) else 0
    views = study.data.train * study.views * len(study.teachers or {})
    return Ledger(answered=views + live, in_every_step=steps)


def audit(trials: Trials) -> Audit:
    """Of the complete trials: one that is still running, or diverged, has shown nothing."""
    ends = [(trial.accuracy, mark.best) for trial in trials.ranked if (mark := trial.facts.audited)]
    return Audit(trials=len(ends), wrong=sum(value > best for value, best in ends))
