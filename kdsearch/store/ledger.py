"""How often a study's teachers were asked, and would have been without views."""

from kdsearch.config import Record
from kdsearch.store.facts import StudyFacts
from kdsearch.store.trials import Trials
from kdsearch.study.teachers import members

MAPS = "teacher_layer"  # the setting of losses that read maps: views hold none, so a teacher answers live


class Ledger(Record):
    """Images that teachers answered, their own training aside."""

    answered: int  # once for each view and teacher, and live for maps
    in_every_step: int  # had each step of each finished trial asked the trial's teachers


def ledger(study: StudyFacts, trials: Trials) -> Ledger:
    """Of a study's finished trials, and of the views that one machine makes for them."""
    live = steps = 0
    for trial in trials.finished:
        if trial.facts.student is None:
            continue
        config = trial.facts.student.config
        seen = study.data.train * len(trial.frozen.intermediate_values)
        if config["losses"]:
            steps += seen * len(members(config["teacher"]))
        if any(MAPS in settings for settings in config["losses"].values()):
            live += seen
    views = study.data.train * study.views * len(study.teachers or {})
    return Ledger(answered=views + live, in_every_step=steps)
