"""The workers of one machine: their number, their shares and jobs, and others for those that die."""

import time
from math import ceil
from typing import Any

import joblib
import psutil

from kdsearch.run.child import Child
from kdsearch.run.protocol import Created, Failed, Job

WORK = "kdsearch.run.worker:work_process"
DEATHS = 5  # of workers, without a finished trial in between, before the run is given up
MOST = 8
GIB = 2**30


class Crew:
    """The worker processes of this machine. They load their libraries before they have their jobs."""

    def __init__(self) -> None:
        self.first: Child | None = None  # it loads its libraries while there is no study yet
        self.workers: list[Child | None] = []  # None in the place of one that has ended
        self.created: Created | None = None
        self.prepared: dict[str, Any] | None = None  # once workers have their jobs
        self.began = 0.0  # when they got them, on the monotonic clock
        self.since = self.finished = self.deaths = 0
        self.stopping = False

    @property
    def children(self) -> list[Child]:
        """The processes that have not ended."""
        return [worker for worker in (self.first, *self.workers) if worker]

    def warm_up(self) -> None:
        """Starts one worker: the number of workers is not known yet."""
        self.first = Child(WORK)

    def start(self, created: Created, since: int) -> None:
        """Starts all workers; `since` is the first trial number of this run."""
        self.created, self.finished, self.since = created, created.finished, since
        self.workers = [None] * count_workers(created.workers, created.cuda_devices)
        for index in range(len(self.workers)):
            self.workers[index] = self._worker(index)

    def give_jobs(self, prepared: dict[str, Any]) -> None:
        """Has the workers begin, and those that start later at once."""
        self.began, self.prepared = time.monotonic(), prepared
        for index, worker in enumerate(self.workers):
            if worker:
                worker.begin(self._job(index, prepared))

    def count_finished(self, finished: int) -> None:
        """Takes note of the finished trials: if there are more than before, deaths are counted anew."""
        if finished > self.finished:
            self.finished, self.deaths = finished, 0

    def stop(self) -> None:
        """Asks each worker to stop; from now on none is replaced."""
        self.stopping = True
        for child in self.children:
            child.ask_to_stop()

    def replace_dead(self) -> Failed | None:
        """Starts a worker for each one that has died; the failure of the run if that happens too often."""
        for index, worker in enumerate(self.workers):
            if worker and worker.ended:
                self.workers[index] = None
                if worker.process.exitcode == 0 or self.stopping:
                    continue
                self.deaths += 1
                if self.deaths > DEATHS:
                    how = f"the last with {worker.end}; out of memory?"
                    return Failed(f"worker processes keep dying, {how}", 1)
                self.workers[index] = self._worker(index)
        return None

    def _worker(self, index: int) -> Child | None:
        if self.stopping:
            return None
        worker, self.first = self.first or Child(WORK), None
        return worker.begin(self._job(index, self.prepared)) if self.prepared else worker

    def _job(self, index: int, prepared: dict[str, Any]) -> Job:
        assert self.created is not None, "a study is created before its views"
        name, storage, cuda = self.created.name, self.created.storage, self.created.cuda_devices
        place = prepared | share_of(index, len(self.workers), prepared["device"], cuda)
        return Job(name, storage, place, index, len(self.workers), self.since, time.time())


def share_of(
    index: int, workers: int, device: str, cuda_devices: int, *, cores: int | None = None
) -> dict[str, Any]:
    """The share of this machine for one of several workers, by the fields of `Prepared`.

    `device` is the study's; `cores` is how many may be used, by default those of this machine. On the CPU a
    worker has one thread, beside a GPU its part of the cores: it gathers batches.
    """
    if not cuda_devices:
        return {"device": device, "sharing": workers, "threads": 1}
    return {
        "device": f"cuda:{index % cuda_devices}" if device == "cuda" else device,
        "sharing": ceil(workers / cuda_devices),
        "threads": max(1, (cores or joblib.cpu_count()) // workers),
    }


def count_workers(wanted: str, cuda_devices: int) -> int:
    """`wanted` if it is a number; `auto` is one per GPU, else one per usable core.

    At most 8 of the latter, and one per GiB of free memory. Usable means within the process's affinity and
    its container's quota.
    """
    if wanted != "auto":
        return int(wanted)
    if cuda_devices:
        return cuda_devices
    free = psutil.virtual_memory().available // GIB
    return int(max(1, min(joblib.cpu_count(), MOST, free)))
