"""`kdsearch sync --follow`, as a process, and the signals that end it."""

import signal
import subprocess
import sys

import pytest
from optuna.trial import TrialState, create_trial

from kdsearch.store.facts import TrialFacts, attributes_of
from kdsearch.store.runs import SEARCH, Run
from tests.servers import wait_until

FOLLOW = """
import sys
from kdsearch.errors import KdsearchError
from kdsearch.run.mirror_thread import follow_study

class Heard:
    study, moved = None, 0.0
    def page(self):
        return None
    def tick(self, trials, *, live=True):
        print("tick", len(trials), live, flush=True)
    def close(self, status):
        print("closed", status, flush=True)
    def awaits_model(self, run):
        return None

try:
    follow_study(lambda *_: Heard(), None, sys.argv[1], "small", print)
except KdsearchError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.fixture
def follower(url):
    with subprocess.Popen(
        [sys.executable, "-c", FOLLOW, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_it_after_a_last_look_at_all_there_is(create, follower, number, code):
    study = create(2)
    assert follower.stdout.readline() == "tick 0 True\n"
    study.add_trial(
        create_trial(state=TrialState.RUNNING, user_attrs=attributes_of(TrialFacts.of_run(Run(SEARCH, 0, 0))))
    )
    wait_until(
        lambda: follower.stdout.readline() == "tick 1 False\n", "a look that leaves running trials out"
    )
    follower.send_signal(number)
    said, errors = follower.communicate()
    assert said.endswith("tick 1 True\nstopped\n")
    assert (follower.returncode, errors) == (code, "")


SLOWLY = ("import time\n" + FOLLOW.replace('print("tick"', 'time.sleep(0.5) or print("tick"')).replace(
    '"small", print)', '"small", print, at_once=60.0)'
)


def test_signals_at_once_are_one_and_leave_it_its_last_look(create, url):
    """As `timeout` sends its own: to the process, and to its group."""
    create(2)
    with subprocess.Popen([sys.executable, "-c", SLOWLY, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "tick 0 True\n"
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert process.communicate()[0].endswith("tick 0 True\nstopped\n")
