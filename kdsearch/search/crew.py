"""Which worker runs a trial, and whether its process is still there."""

import os
import socket
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from optuna.trial import FrozenTrial


def this_worker(number: int) -> dict[str, Any]:
    """The mark that this process puts on the trial that it runs."""
    return {
        "trial": number,
        "host": socket.gethostname(),
        "processes": process_table(),
        "pid": os.getpid(),
        "since": _since(psutil.Process()),
    }


def worker_of(trial: FrozenTrial) -> dict[str, Any] | None:
    """The mark of the worker that runs it. A retry inherits the dead trial's: that one counts as none."""
    worker: dict[str, Any] | None = trial.user_attrs.get("worker")
    return worker if worker and worker["trial"] == trial.number else None


def is_near(worker: dict[str, Any]) -> bool:
    """Whether the worker's process would be seen here if it lived."""
    return bool(worker["processes"] == process_table())


def is_gone(worker: dict[str, Any]) -> bool:
    """Whether a worker that is near is dead; its id may be another process's by now."""
    try:
        process = psutil.Process(worker["pid"])
        return bool(process.status() == psutil.STATUS_ZOMBIE or abs(_since(process) - worker["since"]) > 1)
    except psutil.NoSuchProcess:
        return True


def _since(process: psutil.Process) -> float:
    """Seconds from the machine's start to the process's: no clock that somebody sets moves it."""
    started: float = process.create_time() - psutil.boot_time()
    return started


@cache
def process_table() -> str:
    """Names the processes that can be seen from here.

    A host's name is not enough: two containers of one name see different processes, and a cloned machine has
    its model's name.
    """
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:  # not Linux: no containers that share a name
        parts.append(str(round(psutil.boot_time())))
    return " ".join(parts)
