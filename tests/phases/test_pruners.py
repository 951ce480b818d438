import math
import random

import optuna
import pytest
from optuna.pruners import MedianPruner
from optuna.trial import TrialState, create_trial

from kdsearch.epoch import EpochResult
from kdsearch.phases.samplers import PRUNERS, Median, never, warmup_epochs
from kdsearch.store.facts import TrialFacts, attributes_of
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.storage import open_storage
from tests.servers import postgres_server

EPOCHS = 8


@pytest.mark.parametrize(("epochs", "warm"), [(1, 3), (10, 3), (12, 4), (30, 9), (31, 10)])
def test_nothing_is_pruned_in_the_first_30_percent_nor_in_3_epochs(epochs, warm):
    assert warmup_epochs(epochs) == warm


@pytest.mark.parametrize(("name", "pruner"), [("none", type(never)), ("median", Median)])
def test_a_worker_asks_the_pruner_that_its_study_names(create, worker, name, pruner):
    create(search={"pruner": name})
    assert type(worker().bench.pruner) is pruner


def test_none_stops_nothing(create, url):
    create()
    pruner = PRUNERS["none"](StudyRecord(url, "small"))
    assert not pruner([0.0] * 20)


def drawn(chance):
    """A curve of accuracies that tie, as those of few images do; some are NaN, and some end early."""
    epochs = chance.choice([EPOCHS, EPOCHS, EPOCHS // 2])
    return [math.nan if chance.random() < 0.1 else chance.randrange(10) / 10 for _ in range(epochs)]


def keep_curve(study, record, run, values, state=TrialState.COMPLETE):
    """Adds an ended trial that reached these accuracies: Optuna's pruner reads the trial, ours the epochs."""
    value = 0.5 if state == TrialState.COMPLETE else None
    facts = attributes_of(TrialFacts.of_run(run))
    study.add_trial(create_trial(state=state, value=value, user_attrs=facts, intermediate_values=values))
    rest = {"train_loss": 1.0, "parts": {}, "val_loss": 1.0, "learning_rate": 0.1}
    times = {"images_per_second": 1.0, "seconds": 1.0, "finished_at": 1.0}
    record.replace_epochs(
        run, [EpochResult(epoch=epoch, val_accuracy=v, **rest, **times) for epoch, v in values.items()]
    )


def keep_drawn(study, record, chance, count):
    """Adds so many ended trials, some of whose epochs are missing."""
    for place in range(len(study.trials), len(study.trials) + count):
        state = chance.choices([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL], [6, 2, 1])[0]
        values = {epoch: value for epoch, value in enumerate(drawn(chance)) if chance.random() < 0.9}
        keep_curve(study, record, Run(SEARCH, place, chance.randrange(3)), values, state)


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


@pytest.mark.filterwarnings("ignore:All-NaN")
@pytest.mark.parametrize("seed", range(2))
def test_the_median_decides_as_optuna_s_pruner(storage, seed):
    chance = random.Random(seed)
    study, other = (
        optuna.create_study(storage=storage, study_name=name, direction="maximize")
        for name in ("small", "other")
    )
    record = StudyRecord(storage.engine, "small")
    keep_drawn(other, StudyRecord(record.engine, "other"), chance, 12)
    pruner, theirs = Median(record), MedianPruner(n_startup_trials=10, n_warmup_steps=0, n_min_trials=5)
    told = set()
    for _ in range(5):
        keep_drawn(study, record, chance, 5)
        for curve in (drawn(chance) for _ in range(6)):
            for reached in range(1, len(curve) + 1):
                values = dict(enumerate(curve[:reached]))
                running = create_trial(state=TrialState.RUNNING, intermediate_values=values)
                verdict = theirs.prune(study, running)
                assert pruner(curve[:reached]) == verdict
                told.add(verdict)
    assert told == {True, False}


def test_a_weak_trial_is_stopped_and_tpe_hears_of_its_last_epoch_alone(create, worker, curves):
    study = create(11, training={"epochs": 5}, search={"audit": 0.0})
    searching = worker()
    searching.bench.pruner = lambda curve: len(curve) == 4
    searching.work()
    stopped = [trial for trial in study.trials if trial.state == TrialState.PRUNED]
    assert len(stopped) == 9
    recorded = curves(study)
    for trial in stopped:
        assert trial.intermediate_values == {3: recorded[Run(SEARCH, trial.number, 0)][3]}
        assert len(recorded[Run(SEARCH, trial.number, 0)]) == 4
    whole = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert [trial.intermediate_values for trial in whole] == [{}, {}]
