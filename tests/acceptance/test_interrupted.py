"""A study that is interrupted in every way ends as one that nobody disturbed."""

import os
import signal

import psutil
from optuna.trial import TrialState

from kdsearch.search.slots import mark_of
from tests.servers import wait_until


def worker_of(run):
    """The process that trains: the supervisor's youngest child."""
    return max(psutil.Process(run.pid).children(), key=lambda child: child.create_time())


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
    worker_of(run).kill()
    assert (run.communicate()[0], run.returncode) == ("", 0)

    assert small.finished == undisturbed.finished
    broken = [mark_of(trial) for trial in small.study.trials if trial.state == TrialState.FAIL]
    assert (len(broken), broken.count("interrupted")) == (3, 1)
