"""From Optuna's trial to a trial config, each searched field one suggestion; and what is enqueued first."""

from collections.abc import Mapping
from typing import Any

from optuna.trial import Trial

from kdsearch.config import Choices
from kdsearch.models.student import NetworkConfig
from kdsearch.phases.bench import Bench
from kdsearch.study.architecture import SEARCHED, Architecture
from kdsearch.study.distillation import Distillation, loss_names
from kdsearch.study.file import SPACES, Study
from kdsearch.study.space import Space
from kdsearch.study.trial_config import TrialConfig


def always_sampled(study: Study) -> list[str]:
    """The parameters that every trial samples, with an effect or without.

    Optuna's multivariate TPE models only what every finished trial has. The options of families and losses
    are left to the trials in which they have an effect if they outnumber the rest: docs/log.md has figures.
    """
    every = list(study.parameters())
    shared = [name for name in every if name.partition(".")[0] in SPACES]
    return every if len(every) <= 2 * len(shared) else shared


class Draw:
    """One trial's values of its study's parameters.

    `active` are those on which its configuration depends, known once `config` has been called.
    """

    def __init__(self, trial: Trial, study: Study) -> None:
        self.trial, self.spaces, self.sampled = trial, study.spaces, study.parameters()
        self.values = {name: _suggest(trial, name, self.spaces) for name in always_sampled(study)}
        self.active: list[str] = []

    def config(self, bench: Bench) -> TrialConfig:
        """A student that fits the budget, its losses and its training."""
        student = self._student(bench)
        distillation: Distillation = self._record("distillation")
        loss, names = distillation.loss, loss_names(distillation.loss)
        # The teacher and its weight, if there is a loss that could read the one and weigh the other.
        teaching = distillation.model_dump(exclude={"loss"}) if names else {}
        return TrialConfig(
            student=student,
            loss=loss,
            losses={name: self._record(name).model_dump() for name in names},
            **teaching,
            training=self._record("training"),
        )

    def _student(self, bench: Bench) -> NetworkConfig:
        """A published network as it is, or a searched one as wide as the budget allows."""
        architecture: Architecture = self._record("student")
        if architecture.network != SEARCHED:
            return bench.normalised(architecture.published(bench.classes))
        options = self._record(architecture.family).model_dump()
        student = architecture.student(options, bench.classes, bench.image_size)
        return bench.fitted(student, architecture.fraction)

    def _record(self, prefix: str) -> Any:
        """The record of a table: a searched field that has no effect beside the others is at its default."""
        space = self.spaces[prefix]
        drawn: dict[str, Any] = {}
        kept: dict[str, Any] = {}
        for field in space.record.model_fields:
            name = f"{prefix}.{field}"
            if field not in space.searched:
                drawn[field] = space.fixed[field]
            elif name in self.sampled:
                active = space.record.is_active(field, drawn)
                if active and name not in self.values:
                    self.values[name] = _suggest(self.trial, name, self.spaces)
                if name in self.values:
                    drawn[field] = self.values[name]
                if active:
                    kept[field] = self.values[name]
                    self.active.append(name)
        return space.make(kept)


def suggest_config(trial: Trial, bench: Bench) -> TrialConfig:
    """The configuration of a trial, whose parameters are sampled by it."""
    return Draw(trial, bench.study).config(bench)


def _suggest(trial: Trial, name: str, spaces: Mapping[str, Space]) -> Any:
    prefix, field = name.split(".")
    space = spaces[prefix]
    searched = space.searched[field]
    if isinstance(searched, Choices):
        return trial.suggest_categorical(name, searched.values)
    if space.is_integer(field):
        return trial.suggest_int(name, int(searched.low), int(searched.high), log=searched.log)
    return trial.suggest_float(name, searched.low, searched.high, log=searched.log)


def first_trials(study: Study) -> list[dict[str, Any]]:
    """The hand-written trials of the study file, defaults for what they leave out, then the baselines."""
    defaults = _defaults(study)
    return [*(defaults | given for given in study.first), *baselines(study)]


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
