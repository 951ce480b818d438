"""Baselines: settings known to be sound in the first slots, so that a search never ends below them."""

from typing import Any

from kdsearch.config import Choices
from kdsearch.study.architecture import SEARCHED
from kdsearch.study.distillation import Distillation
from kdsearch.study.file import Study


def baselines(study: Study) -> list[dict[str, Any]]:
    """For each loss that the study lists, without a teacher first: every sampled field at its default.

    Then each published network with the usual loss. Of choices without the default the first is taken; a
    field whose default lies outside its range is left to the sampler.
    """
    losses = study.distillation.possible("loss")
    default = Distillation.model_fields["loss"].default
    usual = default if default in losses else losses[0]
    drawn = [(SEARCHED, loss) for loss in losses] if study.searches_networks else []
    published = [(name, usual) for name in study.student.possible("network") if name != SEARCHED]
    defaults = _defaults(study)
    recipes = [{"student.network": name, "distillation.loss": loss} for name, loss in (*drawn, *published)]
    return [defaults | {key: recipe[key] for key in recipe.keys() & defaults} for recipe in recipes]


def _defaults(study: Study) -> dict[str, Any]:
    found, spaces = {}, study.spaces
    for name in study.parameters():
        prefix, field = name.split(".")
        space = spaces[prefix]
        default, searched = space.record.model_fields[field].default, space.searched[field]
        if isinstance(searched, Choices):
            found[name] = default if default in searched.values else searched.values[0]
        elif searched.low <= default <= searched.high:
            found[name] = default
    return found
