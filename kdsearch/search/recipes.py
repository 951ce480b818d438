"""Baselines: settings known to be sound in the first slots, so that a search never ends below them."""

from typing import Any

from kdsearch.config import Choices, Searched
from kdsearch.study.file import Study


def baselines(study: Study) -> list[dict[str, Any]]:
    """For each loss that the study lists, without a teacher first: every sampled field at its default.

    A field whose default lies outside what the study searches is left to the sampler.
    """
    losses = study.distillation.possible("loss")
    return [{**_defaults(study), **_loss(study, loss)} for loss in losses]


def _loss(study: Study, loss: str) -> dict[str, Any]:
    return {"distillation.loss": loss} if "loss" in study.distillation.searched else {}


def _defaults(study: Study) -> dict[str, Any]:
    found = {}
    for prefix, space in study.spaces.items():
        for field, searched in space.searched.items():
            default = space.record.model_fields[field].default
            if _allows(searched, default):
                found[f"{prefix}.{field}"] = default
    return found


def _allows(searched: Searched, value: Any) -> bool:
    if isinstance(searched, Choices):
        return value in searched.values
    return bool(searched.low <= value <= searched.high)
