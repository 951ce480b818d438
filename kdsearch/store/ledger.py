"""How often a study's teachers were asked, and would have been without views. Loads no torch."""

from typing import Any

import optuna

from kdsearch.config import Record
from kdsearch.store.slots import is_finished
from kdsearch.study.teachers import members

MAPS = "teacher_layer"  # the setting of losses that read maps: views hold none, so a teacher answers live


class Ledger(Record):
    """Images that teachers answered, their own training aside."""

    answered: int  # once for each view and teacher, and live for maps
    in_every_step: int  # had each step of each finished trial asked the trial's teachers


def ledger(study: optuna.Study) -> Ledger:
    """Of all finished trials of the study, and of the views that one machine makes for them."""
    attributes = study.user_attrs
    images = attributes["data"]["train"]
    live = steps = 0
    for trial in filter(is_finished, study.get_trials(deepcopy=False)):
        config: dict[str, Any] = trial.user_attrs["student"]["config"]
        seen = images * len(trial.intermediate_values)
        if config["losses"]:
            steps += seen * len(members(config["teacher"]))
        if any(MAPS in settings for settings in config["losses"].values()):
            live += seen
    views = images * attributes["views"] * len(attributes.get("teachers", {}))
    return Ledger(answered=views + live, in_every_step=steps)
