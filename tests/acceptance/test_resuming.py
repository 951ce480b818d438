"""The same command again: after an interruption of any kind, and after the end."""

import os
import shutil
import signal

import psutil
import pytest
from optuna.trial import TrialState

from kdsearch.errors import ReportedError
from kdsearch.store.facts import trial_facts
from kdsearch.store.liveness import worker_of
from kdsearch.store.trials import StudyTrial
from tests.servers import wait_until


def test_interrupted_equals_undisturbed(small, undisturbed):
    run = small.start()
    wait_until(lambda: small.training, "a trial")
    os.killpg(run.pid, signal.SIGINT)
    assert (run.communicate()[0], run.returncode) == ("stopped; the same command resumes\n", 130)

    run = small.start("api")
    wait_until(lambda: psutil.Process(run.pid).children(), "the preparing process")
    run.send_signal(signal.SIGTERM)
    assert (run.communicate()[0], run.returncode) == ("stopped; the same command resumes\n", 143)

    run = small.start()
    wait_until(lambda: small.training, "a trial")
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()

    run = small.start()
    wait_until(lambda: len(small.finished) == 2 and small.training, "the last trial")
    os.kill(worker_of(StudyTrial.of(small.training[0])).pid, signal.SIGKILL)
    assert (run.communicate()[0], run.returncode) == ("", 0)

    assert small.finished == undisturbed.finished
    broken = [trial_facts(trial).mark for trial in small.study.trials if trial.state == TrialState.FAIL]
    assert (len(broken), broken.count("interrupted")) == (3, 1)


@pytest.fixture
def finished(undisturbed, small):
    """The study with all its three trials, in a folder of its own."""
    shutil.copytree(undisturbed.folder, small.folder, dirs_exist_ok=True)
    return small


def test_a_finished_study_says_so_and_a_larger_target_extends_it_without_the_teacher(finished, undisturbed):
    assert undisturbed.summary.finished == 3
    summary, watched = finished.run(None)
    assert summary.notes == ("3 of 3 finished; --trials 103 adds 100",)
    assert watched.tasks == set()
    assert finished.finished == undisturbed.finished

    summary, watched = finished.run(4)
    assert (summary.finished, summary.notes) == (4, ())
    assert watched.tasks == set(), "a teacher's epoch, or a view's images"
    assert finished.finished.items() >= undisturbed.finished.items()


def test_other_settings_are_refused_before_anything_is_trained(finished):
    finished.write(epochs=41)
    with pytest.raises(ReportedError, match=r"training.epochs \(40 before, 41 now\)") as stop:
        finished.run(4)
    assert stop.value.exit_code == 2
    assert len(finished.study.trials) == 3
