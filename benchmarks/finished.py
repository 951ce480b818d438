"""Many finished trials at once: copies of real ones with other values, stored as Optuna stores them."""

import json
import math
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Table, insert, select
from untrained import EPOCHS, Untaught

from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.schema import epochs

Made = tuple[Any, dict[str, Any]]  # a table and a row of it
PRUNED_EPOCHS = 12
FINITE = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
FINITE_VALUE = models.TrialValueModel.TrialValueType.FINITE
trials: Table = models.TrialModel.__table__
params: Table = models.TrialParamModel.__table__
values: Table = models.TrialValueModel.__table__
user_attributes: Table = models.TrialUserAttributeModel.__table__
system_attributes: Table = models.TrialSystemAttributeModel.__table__
intermediate_values: Table = models.TrialIntermediateValueModel.__table__
TABLES = (params, values, user_attributes, system_attributes, intermediate_values, epochs)


def fill(untaught: Untaught, count: int) -> None:
    """Adds finished trials until there are `count`; the study must have some real ones."""
    real = untaught.study.get_trials(deepcopy=False)
    if len(real) >= count:
        return
    with untaught.storage.engine.begin() as connection:
        study = untaught.study._study_id
        numbers = range(len(real), count)
        ids = dict(zip(numbers, _trials(connection, study, numbers), strict=True))
        draw = random.Random(count)
        made = [
            row for number in numbers for row in _rows(draw, real[number % len(real)], number, ids[number])
        ]
        for table in TABLES:
            connection.execute(insert(table), [row for where, row in made if where is table])


def _trials(connection: Connection, study: int, numbers: Sequence[int]) -> Sequence[int]:
    now = datetime.now(UTC).replace(tzinfo=None)
    times = {"datetime_start": now - timedelta(seconds=10), "datetime_complete": now}
    made = [{"study_id": study, "number": n, "state": _state(n), **times} for n in numbers]
    connection.execute(insert(trials), made)
    theirs = trials.c.study_id == study, trials.c.number >= numbers[0]
    return connection.scalars(select(trials.c.trial_id).where(*theirs).order_by(trials.c.number)).all()


def _state(number: int) -> TrialState:
    return TrialState.PRUNED if number % 3 == 0 else TrialState.COMPLETE


def _rows(draw: random.Random, like: FrozenTrial, number: int, trial: int) -> Iterator[Made]:
    accuracy = draw.uniform(0.5, 0.85)
    for name, distribution in like.distributions.items():
        row = {"param_name": name, "param_value": _drawn(draw, distribution)}
        yield params, {"trial_id": trial, **row, "distribution_json": distribution_to_json(distribution)}
    own = {"slot": number, "attempt": 0, "key": f"{draw.getrandbits(256):064x}", "val_loss": draw.random()}
    for key, value in {**like.user_attrs, **own}.items():
        yield user_attributes, {"trial_id": trial, "key": key, "value_json": json.dumps(value)}
    for key, value in like.system_attrs.items():
        yield system_attributes, {"trial_id": trial, "key": key, "value_json": json.dumps(value)}
    yield values, {"trial_id": trial, "objective": 0, "value": accuracy, "value_type": FINITE_VALUE}
    pruned = _state(number) == TrialState.PRUNED
    for step in range(PRUNED_EPOCHS if pruned else EPOCHS):
        reached = accuracy * (1 - 0.9 ** (step + 1))
        yield epochs, _epoch(number, step, reached)
    if pruned:
        value = {"intermediate_value": reached, "intermediate_value_type": FINITE}
        yield intermediate_values, {"trial_id": trial, "step": step, **value}


def _epoch(slot: int, epoch: int, accuracy: float) -> dict[str, Any]:
    losses = {"train_loss": 1.0, "parts": '{"ce": 1.0, "kl": 2.0}', "val_loss": 1.0, "val_accuracy": accuracy}
    speed = {"learning_rate": 0.01, "images_per_second": 1e4, "seconds": 0.3, "finished_at": 1.8e9}
    return {"study": "digits", **Run(SEARCH, slot, 0)._asdict(), "epoch": epoch, **losses, **speed}


def _drawn(draw: random.Random, distribution: BaseDistribution) -> float:
    """A value as Optuna stores it: a choice by its place."""
    if isinstance(distribution, CategoricalDistribution):
        return float(draw.randrange(len(distribution.choices)))
    bounds: Any = distribution
    if bounds.log:
        value = math.exp(draw.uniform(math.log(bounds.low), math.log(bounds.high)))
    else:
        value = draw.uniform(bounds.low, bounds.high)
    return float(round(value)) if isinstance(bounds.low, int) else value
