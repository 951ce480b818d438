"""A study and its trials as the mirror sends them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import tomli_w

from kdsearch.mirror.runs import ALPHA, EPOCHS, FAMILY, FINALIST, LOSS, StudyRow, TrialRow
from kdsearch.store.facts import StudyFacts
from kdsearch.store.runs import Run
from kdsearch.store.trials import StudyTrial, Trials
from kdsearch.study.teachers import place_of


def trial_rows(trials: Trials, known: dict[int, TrialRow] | None = None) -> list[TrialRow]:
    """Every trial that has a run; ended ones do not change and are kept in `known`, by number."""
    kept = {} if known is None else known
    with_run = [trial for trial in trials if trial.run]
    failed = {trial.number for trial in trials.failures}
    for trial in with_run:
        if trial.state.is_finished() and trial.number not in kept:
            kept[trial.number] = _row(trial, failed=trial.number in failed)
    return [kept.get(trial.number) or _row(trial, failed=False) for trial in with_run]


def _row(trial: StudyTrial, *, failed: bool) -> TrialRow:
    facts, frozen, run = trial.facts, trial.frozen, trial.run
    assert run is not None, "only trials with a run become rows"
    student = facts.student
    shape: dict[str, Any] = {}
    if student:  # what every trial is compared by, searched or not
        shape = {FAMILY: student.family, LOSS: student.loss, ALPHA: student.alpha}
        if facts.candidate:
            shape |= {EPOCHS: student.epochs, FINALIST: f"trial {facts.candidate.trial}"}
    return TrialRow(
        number=trial.number,
        run=run,
        state=trial.state.name,
        params={**shape, **trial.params},
        value=frozen.value if trial.state.name == "COMPLETE" else None,
        val_loss=facts.val_loss,
        parameters=student.parameters if student else None,
        macs=student.macs if student else None,
        reason=facts.reason,
        mark=facts.mark,
        failed=failed,
        candidate=facts.candidate,
        baseline=facts.baseline,
        started=_seconds(frozen.datetime_start),
        finished=_seconds(frozen.datetime_complete),
        audited_epoch=facts.audited.epoch if facts.audited else None,
        tags=student.provenance if student else {},
    )


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def study_row(name: str, facts: StudyFacts, trials: Trials, winner: Run | None = None) -> StudyRow:
    """The facts of the study for the parent run."""
    known = facts.teachers or {}
    ready = {name: each.model_dump(exclude={"curve"}, exclude_none=True) for name, each in known.items()}
    best = trials.best.run if trials.best else None
    return StudyRow(
        name=name,
        file_text=tomli_w.dumps(_without_none(facts.study)),
        data=facts.data.model_dump(mode="json"),
        teachers={place_of(name): ready.get(name, {}) for name in facts.teacher_names},
        seed=facts.seed,
        target=facts.target,
        best=best.key if best else None,
        winner=winner.key if winner else None,
        losses=facts.searched_losses,
    )


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    """TOML has no null: a key that is None is one that was left out."""
    pairs = (
        (key, _without_none(value) if isinstance(value, dict) else value) for key, value in table.items()
    )
    return {key: value for key, value in pairs if value is not None}
