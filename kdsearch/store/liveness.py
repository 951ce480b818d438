"""Which worker runs a trial, and whether its process is still there."""

import os
import socket
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import cast

import optuna
import psutil
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import TrialState

from kdsearch.store.facts import WorkerMark
from kdsearch.store.trials import StudyTrial, Trials

UNMARKED_SECONDS = 60.0  # in which a worker that has taken a trial puts its mark on it


def this_worker(number: int) -> WorkerMark:
    """The mark that this process puts on the trial that it runs."""
    return this_process().model_copy(update={"trial": number})


def this_process() -> WorkerMark:
    """What tells this process from all others."""
    since = _since(psutil.Process())
    return WorkerMark(host=socket.gethostname(), processes=process_table(), pid=os.getpid(), since=since)


def worker_of(trial: StudyTrial) -> WorkerMark | None:
    """The mark of the worker that runs it. A retry inherits the dead trial's: that one counts as none."""
    worker = trial.facts.worker
    return worker if worker and worker.trial == trial.number else None


def is_near(worker: WorkerMark) -> bool:
    """Whether the worker's process would be seen here if it lived."""
    return worker.processes == process_table()


def is_gone(worker: WorkerMark) -> bool:
    """Whether a worker that is near is dead; its id may be another process's by now."""
    try:
        process = psutil.Process(worker.pid)
        return bool(process.status() == psutil.STATUS_ZOMBIE or abs(_since(process) - worker.since) > 1)
    except psutil.NoSuchProcess:
        return True


def is_alive(worker: WorkerMark, *, silent: bool) -> bool:
    """Whether a worker may be at work: seen from here, or elsewhere and not silent for the grace time."""
    return not is_gone(worker) if is_near(worker) else not silent


def living(study: optuna.Study, trials: Trials) -> list[StudyTrial]:
    """The running ones of the study's trials whose workers may be alive."""
    running = trials.in_state(TrialState.RUNNING)
    storage = cast(BaseHeartbeat, study._storage)
    silent = set(storage._get_stale_trial_ids(study._study_id)) if running else set()
    alive = []
    for trial in running:
        worker = worker_of(trial)
        if is_alive(worker, silent=trial.frozen._trial_id in silent) if worker else _is_new(trial):
            alive.append(trial)
    return alive


def _is_new(trial: StudyTrial) -> bool:
    """Whether the trial's worker may not have come to mark it yet."""
    started = trial.frozen.datetime_start
    age = (datetime.now() - started).total_seconds() if started else 0.0  # noqa: DTZ005
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
