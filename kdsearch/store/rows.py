"""Optuna's most frequent calls as plain statements on its tables: its object mapper takes most of their time.

What is stored is what RDBStorage stores, and what is read is what it reads.
"""

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Row, Select, Table, bindparam, exists, or_, select

from kdsearch.store.record import INSERT, Insert

FEW = 500  # trials whose numbers are written into a query; of more, all the study's rows are read

trials: Table = models.TrialModel.__table__
params: Table = models.TrialParamModel.__table__
values: Table = models.TrialValueModel.__table__
user_attributes: Table = models.TrialUserAttributeModel.__table__
system_attributes: Table = models.TrialSystemAttributeModel.__table__
intermediate_values: Table = models.TrialIntermediateValueModel.__table__

to_value = models.TrialValueModel.stored_repr_to_value
to_intermediate = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
from_intermediate = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr

KEYS = {params: "param_name", user_attributes: "key", system_attributes: "key", intermediate_values: "step"}


def writing(dialect: str, table: Table) -> Insert:
    """Inserts one row of a trial that is not finished, or replaces it; parameters stay as they are."""
    names = [column.name for column in table.columns if not column.primary_key]
    given = [bindparam(name, type_=table.c[name].type).label(name) for name in names]
    unfinished = trials.c.state.in_((TrialState.RUNNING, TrialState.WAITING))
    open_trial = exists().where(trials.c.trial_id == bindparam("trial_id"), unfinished)
    rows = select(*given).where(open_trial)
    # Without the option psycopg's count of rows is lost.
    statement = INSERT[dialect](table).from_select(names, rows).execution_options(preserve_rowcount=True)
    unique = ["trial_id", KEYS[table]]
    if table is params:
        return statement.on_conflict_do_nothing(index_elements=unique)
    changed = {name: statement.excluded[name] for name in names if name not in unique}
    return statement.on_conflict_do_update(index_elements=unique, set_=changed)


# What a cache lacks that has all trials up to the id `newer_than`, but for some `besides`.
LACKED = select(trials).where(
    trials.c.study_id == bindparam("study"),
    or_(
        trials.c.trial_id > bindparam("newer_than"),
        trials.c.trial_id.in_(bindparam("besides", expanding=True)),
    ),
)


class Found(NamedTuple):
    """The rows of one trial."""

    trial: Row[Any]
    params: list[Row[Any]]
    values: list[Row[Any]]
    user_attributes: list[Row[Any]]
    system_attributes: list[Row[Any]]
    intermediate_values: list[Row[Any]]


ROWS = {
    "params": params,
    "values": values,
    "user_attributes": user_attributes,
    "system_attributes": system_attributes,
    "intermediate_values": intermediate_values,
}
OF_STUDY = select(trials.c.trial_id).where(trials.c.study_id == bindparam("study"))


def _reading(table: Table, whose: Any) -> Select[Any]:
    return select(table).where(table.c.trial_id.in_(whose)).order_by(next(iter(table.primary_key)))


# Made once: to make a statement takes longer than to run it.
OF_FEW = {name: _reading(table, bindparam("ids", expanding=True)) for name, table in ROWS.items()}
OF_ALL = {name: _reading(table, OF_STUDY) for name, table in ROWS.items()}


def read_trials(connection: Connection, lacked: dict[str, Any]) -> list[FrozenTrial]:
    """The trials that LACKED finds with these values, oldest first."""
    found = {row.trial_id: Found(row, [], [], [], [], []) for row in connection.execute(LACKED, lacked)}
    if not found:
        return []
    few = len(found) <= FEW
    whose = {"ids": list(found)} if few else {"study": lacked["study"]}
    for name, statement in (OF_FEW if few else OF_ALL).items():
        for row in connection.execute(statement, whose):
            if row.trial_id in found:
                getattr(found[row.trial_id], name).append(row)
    return [_frozen(found[number]) for number in sorted(found)]


def _frozen(found: Found) -> FrozenTrial:
    trial = found.trial
    distributions = {row.param_name: _distribution(row.distribution_json) for row in found.params}
    reached = sorted(found.values, key=lambda row: row.objective)
    return FrozenTrial(
        number=trial.number,
        state=trial.state,
        value=None,
        values=[to_value(row.value, row.value_type) for row in reached] or None,
        datetime_start=_local(trial.datetime_start),
        datetime_complete=_local(trial.datetime_complete),
        params={
            row.param_name: distributions[row.param_name].to_external_repr(row.param_value)
            for row in found.params
        },
        distributions=distributions,
        user_attrs={row.key: json.loads(row.value_json) for row in found.user_attributes},
        system_attrs={row.key: json.loads(row.value_json) for row in found.system_attributes},
        intermediate_values={
            row.step: to_intermediate(row.intermediate_value, row.intermediate_value_type)
            for row in found.intermediate_values
        },
        trial_id=trial.trial_id,
    )


@lru_cache(maxsize=1024)
def _distribution(text: str) -> BaseDistribution:
    """Shared by all trials that have it: nobody changes one."""
    return json_to_distribution(text)


def _local(moment: datetime | None) -> datetime | None:
    """Optuna stores UTC and shows local time, both without a zone."""
    return moment and moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
