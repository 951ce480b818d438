"""One look of the mirror at a study, for the mirror's thread and for commands that look once."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import optuna

from kdsearch.mirror.runs import StudyRow
from kdsearch.mirror.study_rows import study_row, trial_rows
from kdsearch.store.facts import keep, study_facts
from kdsearch.store.finalists import decided, trainings_of
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import Run
from kdsearch.store.studies import Found
from kdsearch.store.trials import OPEN, Trials

if TYPE_CHECKING:  # it loads MLflow, hence it is passed in
    from kdsearch.mirror.mirror import Mirror

End = Literal["FINISHED", "KILLED", "FAILED"]
SayLine = Callable[[str], None]
OpenMirror = Callable[[str | None, StudyRow, StudyRecord, SayLine], "Mirror"]


def mirror_once(open_mirror: OpenMirror, uri: str | None, found: Found, say: SayLine) -> "Mirror":
    """A mirror of the study after one tick. Raises MirrorUnavailableError if MLflow does not answer."""
    study, facts, trials = found.study, study_facts(found.study), Trials.of(found.study)
    finalists = trainings_of(study)
    row = study_row(study.study_name, facts, trials, winner_of(study, finalists))
    mirror = open_mirror(uri, row, found.record, say)
    mirror.tick([*trial_rows(trials), *trial_rows(finalists)])
    close_mirror(mirror, study, trials, finalists)
    return mirror


def winner_of(study: optuna.Study, finalists: Trials) -> Run | None:
    """The run of the winning finalist, if all its rivals are trained too."""
    won = decided(study) if len(finalists) else None
    return won.winner.median.run if won else None


def close_mirror(
    mirror: "Mirror",
    study: optuna.Study,
    trials: Trials,
    finalists: Trials,
    end: End | None = None,
) -> None:
    """Keeps the page that compares the trials; ends the parent run at `end`, or if the study is finished."""
    facts, page = study_facts(study), mirror.page()
    if page and facts.comparison != page:
        keep(study, comparison=page)
    is_finished = len(trials.finished) >= max(1, facts.target) and not finalists.in_state(*OPEN)
    if end or is_finished:
        mirror.close(end or "FINISHED")
