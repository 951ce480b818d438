"""What ends a run before its target."""

import os
import signal
import threading
from pathlib import Path
from time import monotonic

import psutil
import pytest

from kdsearch.errors import ReportedError
from kdsearch.search.supervisor import ONE_SIGNAL
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
