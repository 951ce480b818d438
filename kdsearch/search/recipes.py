"""Baselines: settings known to be sound in the first slots, so that a search never ends below them."""

from typing import Any

from kdsearch.config import Choices, Searched
from kdsearch.study.architecture import SEARCHED
from kdsearch.study.distillation import Distillation
from kdsearch.study.file import Study


def baselines(study: Study) -> list[dict[str, Any]]:
    """For each loss that the study lists, without a teacher first: every sampled field at its default.

    Then each published network with the usual loss. A field whose default lies outside what the study
    searches is left to the sampler.
    """
    losses = study.distillation.possible("loss")
    default = Distillation.model_fields["loss"].default
    usual = default if default in losses else losses[0]
    drawn = [(SEARCHED, loss) for loss in losses] if study.searches_networks else []
    published = [(name, usual) for name in study.student.possible("network") if name != SEARCHED]
    return [{**_defaults(study), **_chosen(study, *each)} for each in (*drawn, *published)]


def _chosen(study: Study, network: str, loss: str) -> dict[str, Any]:
    chosen = {"student.network": network, "distillation.loss": loss}
    spaces = {"student.network": study.student, "distillation.loss": study.distillation}
    return {name: value for name, value in chosen.items() if name.split(".")[1] in spaces[name].searched}


def _defaults(study: Study) -> dict[str, Any]:
    found = {}
    for name in study.parameters():
        prefix, field = name.split(".")
        space = study.spaces[prefix]
        default = space.record.model_fields[field].default
        if _allows(space.searched[field], default):
            found[name] = default
    return found


def _allows(searched: Searched, value: Any) -> bool:
    if isinstance(searched, Choices):
        return value in searched.values
    return bool(searched.low <= value <= searched.high)
