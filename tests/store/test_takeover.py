import os
import subprocess
import sys

import psutil
import pytest
from optuna.trial import TrialState

from kdsearch.store.facts import keep, trial_facts
from kdsearch.store.liveness import is_gone, is_near, this_worker, worker_of
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.storage import open_storage
from kdsearch.store.takeover import Takeover
from kdsearch.store.trials import Trials
from tests.servers import wait_until


@pytest.fixture(autouse=True)
def short_grace(monkeypatch):
    """A long one: it passes on a clock of the test's own."""
    monkeypatch.setenv("KDSEARCH_GRACE", "60")


@pytest.fixture
def study(create):
    return create()


class Clock:
    """Seconds that pass only where a test says so."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def take_over(study, url, clock):
    eye = Takeover(study, open_storage(url), clock)
    return lambda: eye(Trials.of(study)), eye


@pytest.fixture
def sleeper():
    """A process that does nothing."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def run(study, **worker):
    """A running trial whose mark says that a process of this machine, with `worker` in it, runs it."""
    study.enqueue_trial({}, user_attrs={"slot": 0, "attempt": 0})
    study._thread_local.in_optimize_loop = True
    trial = study.ask()
    keep(trial, worker=this_worker(trial.number).model_copy(update=worker))
    return trial


def mark_for(pid):
    process = psutil.Process(pid)
    return {"pid": pid, "since": process.create_time() - psutil.boot_time()}


def states(study):
    return [(trial.state, trial_facts(trial).mark) for trial in study.trials]


ALIVE = [(TrialState.RUNNING, None)]
TAKEN = [(TrialState.FAIL, "lost"), (TrialState.WAITING, None)]


def test_a_trial_whose_worker_lives_is_left_alone(study, take_over, sleeper):
    run(study, **mark_for(sleeper.pid))
    assert not take_over[0]()
    assert states(study) == ALIVE


def test_a_trial_whose_worker_was_killed_waits_again_at_once(study, take_over, sleeper):
    run(study, **mark_for(sleeper.pid))
    sleeper.kill()
    sleeper.wait()
    assert take_over[0]()
    assert states(study) == TAKEN
    assert trial_facts(study.trials[1]).run == Run(SEARCH, 0, 0)
    assert worker_of(Trials.of(study)[1]) is None


def test_a_dead_process_that_nobody_has_waited_for_is_dead(sleeper):
    worker = this_worker(0).model_copy(update=mark_for(sleeper.pid))
    assert not is_gone(worker)
    os.kill(sleeper.pid, 9)
    process = psutil.Process(sleeper.pid)
    wait_until(lambda: process.status() == psutil.STATUS_ZOMBIE, "a zombie")
    assert is_gone(worker)
    assert process.is_running()  # for psutil: nobody has waited for it until now


def test_another_process_of_the_same_id_is_not_the_worker(study, take_over, sleeper):
    run(study, **mark_for(sleeper.pid) | {"since": 1.0})
    take_over[0]()
    assert states(study) == TAKEN


def test_a_worker_of_another_container_is_left_to_its_heartbeat(study, take_over):
    trial = run(study, processes="same name, other processes", pid=1, since=1.0)
    assert not is_near(worker_of(Trials.of(study)[trial.number]))
    take_over[0]()
    assert states(study) == ALIVE


def test_a_trial_whose_worker_died_before_its_first_heartbeat_is_failed_after_the_grace_time(
    study, take_over, clock
):
    study.enqueue_trial({}, user_attrs={"slot": 0, "attempt": 0})
    study._thread_local.in_optimize_loop = True
    study.ask()
    look, eye = take_over
    for _ in range(2):
        assert not look()
        clock.now += eye.grace
    assert states(study) == ALIVE
    clock.now += 0.1
    assert look()
    assert states(study) == TAKEN


@pytest.fixture
def beat(study, url):
    """The second heartbeat of a trial that runs on another machine; the first is a second old."""
    trial, storage = run(study, processes="another machine"), open_storage(url)
    storage.record_heartbeat(trial._trial_id)
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-1 second')")
    return lambda: storage.record_heartbeat(trial._trial_id)


def test_what_ran_before_a_worker_began_is_in_doubt_until_its_heart_beats(study, take_over, beat):
    look, eye = take_over
    look()
    assert list(eye.doubted) == [0]
    look()
    assert list(eye.doubted) == [0]
    beat()
    look()
    assert not eye.doubted
    assert states(study) == ALIVE


def test_what_ran_before_a_worker_began_is_in_doubt_until_a_living_one_would_have_beaten(
    take_over, beat, clock
):
    look, eye = take_over
    look()
    clock.now += eye.patience - 0.1
    look()
    assert list(eye.doubted) == [0]
    clock.now += 0.1
    look()
    assert not eye.doubted


def test_a_trial_of_this_machine_s_own_live_worker_is_not_in_doubt(study, take_over):
    run(study)
    look, eye = take_over
    look()
    assert not eye.doubted
