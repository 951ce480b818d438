"""How often a study's teachers were asked, and would have been without views. Loads no torch."""

from collections.abc import Collection
from typing import Any

import optuna

from kdsearch.config import Record
from kdsearch.search.slots import is_finished
from kdsearch.study.teachers import members


class Ledger(Record):
    """Images that teachers answered, their own training aside."""

    answered: int  # once for each view and teacher, and live for feature maps, which no view holds
    in_every_step: int  # had each step of each finished trial asked the trial's teachers


def ledger(study: optuna.Study, hint_losses: Collection[str]) -> Ledger:
    """Of all finished trials of the study, and of the views that one machine makes for them.

    `hint_losses` are the losses that read feature maps.
    """
    attributes = study.user_attrs
    images = attributes["data"]["train"]
    live = steps = 0
    for trial in filter(is_finished, study.get_trials(deepcopy=False)):
        config: dict[str, Any] = trial.user_attrs["student"]["config"]
        seen = images * len(trial.intermediate_values)
        if config["losses"]:
            steps += seen * len(members(config["teacher"]))
        if any(loss in hint_losses for loss in config["losses"]):
            live += seen
    views = images * attributes["views"] * len(attributes.get("teachers", {}))
    return Ledger(answered=views + live, in_every_step=steps)
