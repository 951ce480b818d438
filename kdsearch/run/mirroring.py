"""One look of the mirror at a study, for the mirror's thread and for commands that look once."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import optuna

from kdsearch.mirror.runs import StudyRow
from kdsearch.mirror.study_rows import study_row, trial_rows
from kdsearch.store.facts import StudyFacts, keep, study_facts
from kdsearch.store.record import StudyRecord
from kdsearch.store.studies import Found
from kdsearch.store.trials import Trials

if TYPE_CHECKING:  # it loads MLflow, hence it is passed in
    from kdsearch.mirror.mirror import Mirror

End = Literal["FINISHED", "KILLED", "FAILED"]
SayLine = Callable[[str], None]
OpenMirror = Callable[[str | None, StudyRow, StudyRecord, SayLine], "Mirror"]


def mirror_once(open_mirror: OpenMirror, uri: str | None, found: Found, say: SayLine) -> "Mirror":
    """A mirror of the study after one tick. Raises MirrorUnavailableError if MLflow does not answer."""
    study, facts, trials = found.study, study_facts(found.study), Trials.of(found.study)
    mirror = open_mirror(uri, study_row(study.study_name, facts, trials), found.record, say)
    mirror.tick(trial_rows(trials))
    close_mirror(mirror, study, facts, trials)
    return mirror


def close_mirror(
    mirror: "Mirror", study: optuna.Study, facts: StudyFacts, trials: Trials, end: End | None = None
) -> None:
    """Keeps the page that compares the trials; ends the parent run at `end`, or if the study is finished."""
    page = mirror.page()
    if page and facts.comparison != page:
        keep(study, comparison=page)
    if end or len(trials.finished) >= max(1, facts.target):
        mirror.close(end or "FINISHED")
