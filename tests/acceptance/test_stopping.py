"""What ends a run before its target."""

import os
import pty
import signal
import sys
import threading
from pathlib import Path
from select import select
from time import monotonic

import psutil
import pytest
from optuna.trial import TrialState
from sqlalchemy import inspect

from kdsearch import api
from kdsearch.database import open_engine
from kdsearch.errors import ReportedError, StudyDeletedError
from kdsearch.run.signals import ONE_SIGNAL
from kdsearch.store.facts import trial_facts
from tests.servers import wait_until


def test_a_second_ctrl_c_stops_at_once_and_says_what_that_means(small):
    run = small.start()
    wait_until(lambda: small.training, "a trial")
    children = [child for child in psutil.Process(run.pid).children() if is_ours(child)]
    for child in children:
        child.suspend()  # so that none of them ends by itself
    pressed = monotonic()
    os.killpg(run.pid, signal.SIGINT)
    wait_until(lambda: any(signal.SIGTERM in pending(child) for child in children), "the first Ctrl-C")
    wait_until(lambda: monotonic() - pressed > 2 * ONE_SIGNAL, "a second one that is told from the first")
    os.killpg(run.pid, signal.SIGINT)
    said = run.communicate()[0]
    assert said == "stopped at once; the same command resumes, from the last checkpoints\n"
    assert run.returncode == 130


def test_the_end_of_the_terminal_is_ctrl_c(small):
    run = small.start()
    wait_until(lambda: small.training, "a trial")
    os.killpg(run.pid, signal.SIGHUP)
    assert (run.communicate()[0], run.returncode) == ("stopped; the same command resumes\n", 129)
    assert [trial.state for trial in small.study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert trial_facts(small.study.trials[0]).mark == "interrupted"


def test_nohup_outlives_the_terminal(small):
    small.write(epochs=12)
    run = small.start(before=("nohup",))
    wait_until(lambda: small.training, "a trial")
    os.killpg(run.pid, signal.SIGHUP)
    assert (run.communicate()[0], run.returncode) == ("", 0)
    assert len(small.finished) == 3


def read(terminal):
    """Takes what is there, so that the other side can go on."""
    while select([terminal], [], [], 0)[0]:
        os.read(terminal, 1 << 16)


def test_a_run_whose_terminal_is_closed_saves_its_trial_though_it_can_say_nothing(small):
    """The command itself, with its bars, behind a terminal of its own."""
    command = [sys.executable, "-m", "kdsearch", "run", "small.toml", "--trials", "3", "--workers", "1"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(small.folder)
        os.execv(command[0], [*command, "--tracking-uri", "http://127.0.0.1:9"])
    wait_until(lambda: read(terminal) or small.training, "a trial")
    run = psutil.Process(pid)
    children = [child for child in run.children() if is_ours(child)]
    os.close(terminal)
    _, code = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(code) in (1, 129)  # 1: not even its last line could be written
    assert not psutil.wait_procs(children, timeout=0)[1]
    assert [trial.state for trial in small.study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert trial_facts(small.study.trials[0]).mark == "interrupted"


def test_a_run_whose_study_is_deleted_ends_with_one_line(small):
    run = small.start()
    wait_until(lambda: small.training, "a trial")
    api.delete("small", storage=small.url, tracking_uri="http://127.0.0.1:9", force=True)
    said = run.communicate()[0]
    assert (said, run.returncode) == (f"{StudyDeletedError()}\n", 1)
    assert rows_left(small.url) == 0


def rows_left(url):
    """How many rows there are that belong to a study or to a trial."""
    engine = open_engine(url)
    with engine.begin() as connection:
        names = [name for name in inspect(connection).get_table_names() if "version" not in name]
        query = "SELECT count(*) FROM {}"
        rows = sum(connection.exec_driver_sql(query.format(name)).scalar_one() for name in names)
    engine.dispose()
    return rows


def is_ours(child):
    """Not multiprocessing's own resource tracker, and not dead."""
    try:
        return "spawn_main" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:
        return False


def pending(process):
    """The signals that a suspended process has been sent."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    bits = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("ShdPnd"))
    return {number for number in signal.Signals if bits >> (number - 1) & 1}


@pytest.fixture
def murderer():
    """Kills every worker of this process's supervisor as soon as it appears."""
    done = threading.Event()

    def kill():
        preparing = None
        while not done.wait(0.02):
            for child in psutil.Process().children():
                if is_ours(child):
                    preparing = preparing or child
                    if child != preparing:
                        child.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    yield
    done.set()
    thread.join()


@pytest.mark.usefixtures("murderer")
def test_workers_that_keep_dying_stop_the_run(small):
    with pytest.raises(ReportedError, match="worker processes keep dying, the last with signal 9") as stop:
        small.run(4)
    assert stop.value.exit_code == 1


def test_a_run_that_cannot_be_prepared_leaves_no_process(small):
    small.write(data="train_images = 99_999")
    with pytest.raises(ReportedError, match="train_images"):
        small.run(4)
    assert not [child for child in psutil.Process().children() if is_ours(child)]
