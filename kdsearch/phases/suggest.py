"""From Optuna's trial to a trial config, each searched field one suggestion; and what is enqueued first."""

from typing import Any

from optuna.trial import Trial

from kdsearch.config import Choices
from kdsearch.models.student import NetworkConfig
from kdsearch.phases.bench import Bench
from kdsearch.study.architecture import SEARCHED, Architecture
from kdsearch.study.distillation import Distillation, loss_names
from kdsearch.study.file import Study
from kdsearch.study.space import Space
from kdsearch.study.trial_config import TrialConfig


def suggest_config(trial: Trial, bench: Bench) -> TrialConfig:
    """Draws a student that fits the budget, its losses and its training."""
    study = bench.study
    student = _student(trial, bench)
    distillation = draw(trial, "distillation", study.distillation)
    loss = distillation.loss
    names = loss_names(loss)
    # The teacher and its weight, if there is a loss that could read the one and weigh the other.
    teaching = {"alpha": distillation.alpha, "teacher": distillation.teacher} if names else {}
    return TrialConfig(
        student=student,
        loss=loss,
        losses={name: draw(trial, name, study.losses[name]).model_dump() for name in names},
        **teaching,
        training=draw(trial, "training", study.training),
    )


def _student(trial: Trial, bench: Bench) -> NetworkConfig:
    """A published network as it is, or a searched one as wide as the budget allows."""
    study = bench.study
    architecture: Architecture = draw(trial, "student", study.student)
    if architecture.network != SEARCHED:
        return bench.normalised(architecture.published(bench.classes))
    options = draw(trial, architecture.family, study.families[architecture.family])
    student = architecture.student(options.model_dump(), bench.classes, bench.image_size)
    return bench.fitted(student, architecture.fraction)


def draw(trial: Trial, prefix: str, space: Space) -> Any:
    """The record of a space: one suggestion for each searched field that the earlier ones leave a meaning."""
    drawn: dict[str, Any] = {}
    for field in space.record.model_fields:
        if field not in space.searched:
            drawn[field] = space.fixed[field]
        elif space.record.is_active(field, drawn):
            drawn[field] = _suggest_one(trial, f"{prefix}.{field}", space, field)
    return space.make(drawn)


def _suggest_one(trial: Trial, name: str, space: Space, field: str) -> Any:
    searched = space.searched[field]
    if isinstance(searched, Choices):
        return trial.suggest_categorical(name, searched.values)
    if space.is_integer(field):
        return trial.suggest_int(name, int(searched.low), int(searched.high), log=searched.log)
    return trial.suggest_float(name, searched.low, searched.high, log=searched.log)


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
    defaults, spaces = {}, study.spaces
    for name in study.parameters():
        prefix, field = name.split(".")
        space = spaces[prefix]
        default, searched = space.record.model_fields[field].default, space.searched[field]
        if isinstance(searched, Choices):
            defaults[name] = default if default in searched.values else searched.values[0]
        elif searched.low <= default <= searched.high:
            defaults[name] = default
    return defaults
