"""Counts the forward passes of a study's teachers, and those that it would take without views."""

from collections.abc import Collection

from kdsearch.config import Record
from kdsearch.store.facts import StudyFacts
from kdsearch.store.trials import Trials
from kdsearch.study.teachers import members


class Ledger(Record):
    """Numbers of images for which teachers ran, without their own training."""

    answered: int  # once for each view and teacher, and live for feature maps, which no view holds
    in_every_step: int  # had each step of each finished trial asked the trial's teachers


def ledger(study: StudyFacts, trials: Trials, hint_losses: Collection[str]) -> Ledger:
    """Of a study's finished trials, and of the views that one machine makes for them.

    `hint_losses` are the losses that read feature maps.
    """
    live = steps = 0
    for trial in trials.finished:
        if trial.facts.student is None:
            continue
        config = trial.facts.student.config
        seen = study.data.train * trial.epochs
        if config["losses"]:
            steps += seen * len(members(config["teacher"]))
        if any(loss in hint_losses for loss in config["losses"]):
            live += seen
    views = study.data.train * study.views * len(study.teachers or {})
    return Ledger(answered=views + live, in_every_step=steps)
