"""What StudyStorage does in statements of its own is what Optuna's RDBStorage does."""

import math
import warnings
from functools import partial

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial
from sqlalchemy import event

from kdsearch.errors import StudyDeletedError
from kdsearch.store.rows import read_trials
from kdsearch.store.storage import StudyStorage, open_storage
from tests.servers import postgres_server

WRITES = {
    "a user attribute": lambda storage, trial: storage.set_trial_user_attr(trial, "key", {"a": [1, None]}),
    "a system attribute": lambda storage, trial: storage.set_trial_system_attr(trial, "key", "value"),
    "a value on the way": lambda storage, trial: storage.set_trial_intermediate_value(trial, 3, 0.5),
    "a parameter": lambda storage, trial: storage._set_trial_param(
        trial, "x", 0.5, FloatDistribution(0, 1), FloatDistribution(0, 1)
    ),
}


@pytest.fixture(scope="module")
def postgres():
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def storage(request, url):
    where = url if request.param == "sqlite" else request.getfixturevalue("postgres").new_database()
    made = open_storage(where, create=True)
    yield made
    made.engine.dispose()


@pytest.fixture
def study(storage):
    return optuna.create_study(storage=storage, study_name="small", direction="maximize")


def objective(trial):
    trial.suggest_categorical("family", ["plain", "dwsep"])
    trial.suggest_float("rate", 1e-3, 1.0, log=True)
    trial.suggest_int("depth", 1, 4)
    trial.set_user_attr("worker", {"host": "a", "pid": 1})
    trial.set_user_attr("worker", {"host": "b", "pid": 2})
    trial.set_constraint("params", -3.0)
    for step, value in enumerate([0.1, math.inf, -math.inf, math.nan]):
        trial.report(value, step)
    if trial.number == 1:
        raise optuna.TrialPruned
    if trial.number == 2:
        raise ValueError
    return 0.5


def searched(study):
    """Trials of all states."""
    study.optimize(objective, n_trials=4, catch=(ValueError,))
    study.enqueue_trial({"depth": 2}, user_attrs={"slot": 5})
    study.enqueue_trial({"depth": 3})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an ask without a heartbeat
        study.ask()
    study.add_trial(
        create_trial(value=math.inf, params={"z": 2}, distributions={"z": IntDistribution(0, 8, step=2)})
    )
    return {trial.state for trial in study.trials}


ALL = {"newer_than": -1, "besides": []}


def test_trials_read_as_optuna_reads_them(storage, study):
    assert searched(study) == set(TrialState)
    known = study.trials[2]._trial_id
    asked = (
        (None, set(), -1),
        (None, {1, 2}, known),
        ((TrialState.COMPLETE,), set(), -1),
        (None, set(), 10**6),
    )
    for query in asked:
        optuna_says = RDBStorage._get_trials(storage, study._study_id, *query)
        assert repr(storage._get_trials(study._study_id, *query)) == repr(optuna_says)


def test_many_trials_are_read_as_few_are(storage, study):
    searched(study)
    with storage.engine.begin() as connection:
        read = partial(read_trials, connection, ALL | {"study": study._study_id})
        assert repr(read(at_most=0)) == repr(read()) == repr(study.trials)


def test_only_the_study_s_own_trials_are_read(storage, study):
    other = optuna.create_study(storage=storage, study_name="other")
    for each in (study, other):
        each.optimize(objective, n_trials=1)
    assert [trial._trial_id for trial in other.trials] == [study.trials[0]._trial_id + 1]
    with storage.engine.begin() as connection:
        (trial,) = read_trials(connection, ALL | {"study": other._study_id}, at_most=0)
    assert repr(trial) == repr(other.trials[0])


def test_a_study_that_is_gone_is_one_line(storage):
    with pytest.raises(StudyDeletedError):
        storage._get_trials(99, None, set(), -1)


@pytest.mark.parametrize("what", WRITES)
def test_a_write_leaves_what_optuna_s_own_leaves(storage, study, what):
    first, second = (storage.create_new_trial(study._study_id) for _ in range(2))
    for _ in range(2):
        WRITES[what](storage, first)
        plain = RDBStorage.__new__(RDBStorage)
        vars(plain).update({name: value for name, value in vars(storage).items() if name != "_writing"})
        WRITES[what](plain, second)
    ours, theirs = storage.get_trial(first), storage.get_trial(second)
    ours.number, ours._trial_id, ours.datetime_start = theirs.number, second, theirs.datetime_start
    assert repr(ours) == repr(theirs)
    assert len(vars(ours)["_params"] | ours.user_attrs | ours.system_attrs | ours.intermediate_values) == 1


@pytest.mark.parametrize("what", WRITES)
def test_a_write_is_one_statement(storage, study, what):
    trial, heard = storage.create_new_trial(study._study_id), []
    event.listen(storage.engine, "before_cursor_execute", lambda *given: heard.append(given[2]))
    WRITES[what](storage, trial)
    assert [text.split()[0] for text in heard if text != "BEGIN IMMEDIATE"] == ["INSERT"]


@pytest.mark.parametrize("what", WRITES)
def test_nothing_is_written_to_a_trial_that_has_ended_or_is_none(storage, study, what):
    ended = storage.create_new_trial(study._study_id)
    storage.set_trial_state_values(ended, TrialState.FAIL)
    before = repr(storage.get_trial(ended))
    with pytest.raises(UpdateFinishedTrialError):
        WRITES[what](storage, ended)
    assert repr(storage.get_trial(ended)) == before
    with pytest.raises(StudyDeletedError):
        WRITES[what](storage, 99)


def test_a_parameter_of_another_kind_is_refused(storage, study):
    trial = storage.create_new_trial(study._study_id)
    kinds = FloatDistribution(0, 1), CategoricalDistribution(["a"])
    with pytest.raises(ValueError, match="kind"):
        storage._set_trial_param(trial, "x", 0.0, *kinds)


def test_these_calls_outlive_a_database_that_goes_away_too():
    own = "_get_trials", "set_trial_user_attr", "set_trial_intermediate_value", "_set_trial_param"
    assert {getattr(StudyStorage, name).__name__ for name in own} == {"repeated"}
