"""MLflow's overview of a study: metrics of the parent run, and a note in three lines."""

from collections.abc import Iterator, Sequence

from kdsearch.mirror.runs import Point, StudyRow, TrialRow, milliseconds

SHOWN_RUNS = 100  # that MLflow's page of runs loads at once


OWN_NOTE = "**Best**: "  # how each note begins: one that does not is the user's


def best_of(study: StudyRow, trials: Sequence[TrialRow]) -> TrialRow | None:
    """The study's best trial, where it is among `trials`."""
    return next((row for row in trials if row.state == "COMPLETE" and row.run.key == study.best), None)


def study_points(study: StudyRow, trials: Sequence[TrialRow]) -> Iterator[Point]:
    """How the study stands, at the step of the trials that have ended: equal trials give equal points."""
    ended = [row for row in trials if row.state in ("COMPLETE", "PRUNED") or row.failed]
    moment = milliseconds(max((row.finished or 0.0 for row in ended), default=0.0))
    values: dict[str, float | None] = {}
    if best := best_of(study, trials):
        values = {"best_accuracy": best.value, "best_parameters": best.parameters, "best_macs": best.macs}
        values["best_trial"] = best.number
    pruned, failed = sum(row.state == "PRUNED" for row in ended), sum(row.failed for row in ended)
    values |= {"finished": len(ended) - failed, "pruned": pruned, "failed": failed}
    values["teacher_accuracy"] = max(_accuracies(study), default=None)
    for name, value in values.items() if ended else ():
        if value is not None:
            yield Point(name, value, moment, len(ended))


def note(study: StudyRow, trials: Sequence[TrialRow]) -> str:
    """Three lines above the table of runs: the best trial, the teacher, how to read the table."""
    best = best_of(study, trials)
    if best:
        size = f"{best.parameters:,} parameters, {best.macs:,} multiply-adds"
        first = (
            f"{OWN_NOTE}trial {best.number}, {_percent(best.value or 0.0)} on the validation images, {size}."
        )
    else:
        first = OWN_NOTE + "no trial has finished yet."
    taught = (
        f"{facts['model']}, {_percent(facts['accuracy'])}"
        for facts in study.teachers.values()
        if "accuracy" in facts
    )
    finished = sum(row.state in ("COMPLETE", "PRUNED") for row in trials)
    read = (
        f"**How to read**: {finished} of {study.target} trials have finished; a run's name says its number, "
        f"family, loss, size and accuracy or end. The view `kdsearch` compares the best {SHOWN_RUNS}."
    )
    return "\n\n".join([first, f"**Teacher**: {'; '.join(taught) or 'none'}.", read])


def _accuracies(study: StudyRow) -> Iterator[float]:
    return (float(facts["accuracy"]) for facts in study.teachers.values() if "accuracy" in facts)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
