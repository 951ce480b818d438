"""Which finalists a run is to have: checked before anything is trained, then kept with the study."""

from collections.abc import Iterator

import optuna

from kdsearch.errors import UsageError
from kdsearch.run.protocol import Request
from kdsearch.store.facts import is_whole, study_facts
from kdsearch.store.trials import Trials
from kdsearch.study.file import Study
from kdsearch.study.space import Place, read_record
from kdsearch.tables import FinalistsConfig

TABLE = "finalists."
MANY_SEEDS = 20


def asked_finalists(request: Request, stored: optuna.Study) -> FinalistsConfig:
    """The finalists of a study that exists, with the values that the command replaces."""
    config = study_facts(stored).finalists or FinalistsConfig()
    if request.finalize and config.count == 0:
        config = FinalistsConfig()
    replaced = {key.removeprefix(TABLE): value for key, value in _given(request).items()}
    return read_record(Place("finalize", "finalists"), {**config.model_dump(), **replaced}, FinalistsConfig)


def is_given(request: Request) -> bool:
    """Whether the command says what a study of a version without finalists does not."""
    return request.finalize or bool(_given(request))


def _given(request: Request) -> dict[str, object]:
    return {key: value for key, value in request.values.items() if key.startswith(TABLE)}


def check_finalists(request: Request, study: Study, stored: optuna.Study | None) -> Iterator[str]:
    """Yields notes for the user. Raises UsageError if there can never be so many finalists."""
    config = study.finalists
    if request.join and not request.finalize:
        return
    if request.finalize and stored is not None:
        _check_search(config, stored)
    elif config.count > (trials := _target(request, study, stored)) and _is_meant(request, config):
        raise UsageError(
            f"finalists.count = {config.count}: more than the {trials} trials that study {study.name!r} is "
            "to have; give fewer finalists, or more --trials"
        )
    if config.count and config.seeds > MANY_SEEDS:
        yield (
            f"finalists.seeds = {config.seeds}: {config.count * config.seeds} trainings after the search; "
            f"more than {MANY_SEEDS} seeds hardly narrow an interval, which also depends on the images"
        )


def _check_search(config: FinalistsConfig, stored: optuna.Study) -> None:
    name, target, trials = stored.study_name, study_facts(stored).target, Trials.of(stored)
    finished, complete = len(trials.finished), len(trials.ranked)
    if finished < target:
        raise UsageError(
            f"study {name!r} has {finished} of its {target} trials; finish the search with 'kdsearch run', "
            f"or end it here with --trials {finished or 1}"
        )
    if config.count > complete:
        raise UsageError(
            f"finalists.count = {config.count}: study {name!r} has {complete} trials that were trained to "
            "their end; give --finalists fewer"
        )


def _target(request: Request, study: Study, stored: optuna.Study | None) -> int:
    earlier = study_facts(stored).target if stored is not None and is_whole(stored) else 0
    return int(request.values.get("run.trials") or earlier or study.run.trials)


def _is_meant(request: Request, config: FinalistsConfig) -> bool:
    """Whether somebody chose the number for this many trials: a short trial run of a study is no mistake."""
    if "finalists.count" in request.values:
        return True
    chosen = config.count != FinalistsConfig().count
    return chosen and "run.trials" not in request.values
