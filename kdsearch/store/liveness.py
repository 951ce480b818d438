"""Which worker runs a trial, and whether its process is still there."""

import os
import socket
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

import optuna
import psutil
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial, TrialState

UNMARKED_SECONDS = 60.0  # in which a worker that has taken a trial puts its mark on it


def this_worker(number: int) -> dict[str, Any]:
    """The mark that this process puts on the trial that it runs."""
    return {"trial": number, **this_process()}


def this_process() -> dict[str, Any]:
    """What tells this process from all others."""
    return {
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


def is_alive(worker: dict[str, Any], *, silent: bool) -> bool:
    """Whether a worker may be at work: seen from here, or elsewhere and not silent for the grace time."""
    return not is_gone(worker) if is_near(worker) else not silent


def living(study: optuna.Study) -> list[FrozenTrial]:
    """The running trials whose workers may be alive."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    storage = cast(BaseHeartbeat, study._storage)
    silent = set(storage._get_stale_trial_ids(study._study_id)) if running else set()
    found = []
    for trial in running:
        worker = worker_of(trial)
        if is_alive(worker, silent=trial._trial_id in silent) if worker else _is_new(trial):
            found.append(trial)
    return found


def _is_new(trial: FrozenTrial) -> bool:
    """Whether the trial's worker may not have come to mark it yet."""
    age = (datetime.now() - trial.datetime_start).total_seconds() if trial.datetime_start else 0.0  # noqa: DTZ005
    return age < UNMARKED_SECONDS


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
