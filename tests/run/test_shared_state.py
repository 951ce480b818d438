"""Two machines with one database and one folder of checkpoints: the second continues what the first began."""

import shutil

import optuna
import pytest
from optuna.trial import TrialState

from kdsearch.store.facts import trial_facts
from kdsearch.store.liveness import is_near, worker_of
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.trials import StudyTrial, Trials

EPOCHS = 6
ELSEWHERE = {"host": "another", "processes": "another machine"}


class PowerCut(BaseException):
    """Ends a process where it stands, as far as a process of pytest can be ended."""


@pytest.fixture
def first_machine(create, worker):
    """The study after a machine has lost its power in its first trial, in the fourth of the epochs."""
    study = create(2, training={"epochs": EPOCHS})
    left = worker(save_every=0.0)

    def stop():
        if len(left.bench.record.epochs(Run(SEARCH, 0, 0))) == 3:
            raise PowerCut
        return False

    left.bench.stop = stop
    with pytest.raises(PowerCut):
        left.work()
    (trial,) = study.trials
    assert trial.state == TrialState.RUNNING
    mark = worker_of(StudyTrial.of(trial)).model_copy(update=ELSEWHERE)
    study._storage.set_trial_user_attr(trial._trial_id, "worker", mark.model_dump())
    return study


@pytest.fixture
def second_machine(worker, prepared, tmp_path):
    """A worker with views of its own, and what it says; only the folder of checkpoints is shared."""
    bank = prepared.bank.model_copy(update={"folder": tmp_path / "views of the second"})
    shutil.copytree(prepared.bank.folder, bank.folder)
    return worker(prepared=prepared.model_copy(update={"bank": bank}))


def forget(study):
    """The first machine has not been heard of for longer than the grace time."""
    assert not is_near(worker_of(Trials.of(study)[0]))
    with study._storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = '2026-01-01 00:00:00'")


def test_a_checkpoint_of_another_machine_is_continued(first_machine, second_machine):
    record, checkpoints = second_machine.bench.record, second_machine.bench.checkpoints
    before = record.epochs(Run(SEARCH, 0, 0))
    assert [path.name for path in checkpoints.iterdir()] == ["slot-0-0.safetensors"]
    forget(first_machine)
    second_machine.work()
    assert [(trial.state, trial_facts(trial).run) for trial in first_machine.trials] == [
        (TrialState.FAIL, Run(SEARCH, 0, 0)),
        (TrialState.COMPLETE, Run(SEARCH, 0, 0)),
        (TrialState.COMPLETE, Run(SEARCH, 1, 0)),
    ]
    after = record.epochs(Run(SEARCH, 0, 0))
    assert len(after) == EPOCHS
    assert after[:3] == before  # with the times of the first machine: none of them was trained again
    assert list(checkpoints.iterdir()) == []


def test_what_two_machines_trained_is_what_one_trains(first_machine, second_machine, create, worker, outcome):
    forget(first_machine)
    second_machine.work()
    shared = outcome(first_machine)
    optuna.delete_study(study_name="small", storage=first_machine._storage)
    undisturbed = create(2, training={"epochs": EPOCHS})
    worker().work()
    assert shared == outcome(undisturbed)
