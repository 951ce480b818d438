"""What is trained in a study, phase after phase."""

from collections.abc import Sequence
from typing import Any, Protocol

import optuna
from optuna.trial import Trial

from kdsearch.phases.bench import Bench
from kdsearch.phases.finalists import Finalists
from kdsearch.phases.search import run_trial
from kdsearch.phases.suggest import first_trials
from kdsearch.store.facts import study_facts
from kdsearch.store.runs import SEARCH
from kdsearch.store.trials import Trials


class Phase(Protocol):
    """A kind of training; its places are trials of an Optuna study of its own, so that no sampler mixes them.

    `name` is a part of all names of its runs.
    """

    name: str

    def target(self, search: optuna.Study) -> int:
        """How many finished trainings it wants; `search` is the study that the user knows."""

    def recipes(self, bench: Bench) -> Sequence[dict[str, Any]]:
        """The parameters of its first places; those beyond are sampled."""

    def train(self, trial: Trial, bench: Bench, target: int, before: Trials) -> float:
        """Trains what `trial` asks for; returns its accuracy. As `run_trial`, also in what it raises."""


class Search:
    """The search itself: students as Optuna samples them."""

    name = SEARCH

    def target(self, search: optuna.Study) -> int:
        return study_facts(search).target

    def recipes(self, bench: Bench) -> list[dict[str, Any]]:
        return first_trials(bench.study)

    def train(self, trial: Trial, bench: Bench, target: int, before: Trials) -> float:
        return run_trial(trial, bench, target, before)


PHASES: tuple[Phase, ...] = (Search(), Finalists())
