"""Whether a worker's memory stays flat: after trial 100 as after trial 10.

    python benchmarks/memory.py            100 trials of 5 epochs, about five minutes
    python benchmarks/memory.py --quick    12 trials of 1 epoch; keeps nothing

One worker process as `kdsearch run` starts it takes trial after trial of the study `digits`, drawn at random,
so that each student has other shapes than the last. It is weighed whenever it is done with a trial: resident
size (RSS), what of that is its own (USS), and on CUDA what torch has allocated and reserved on the device.

Prints each after trial 10, after the last, and the growth, which is to be at most 2 %. Keeps
`benchmarks/results/memory.json`.
"""

import argparse
import json
import os
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from children import heard

from kdsearch.device import choose_device, describe
from kdsearch.run.child import Child
from kdsearch.run.protocol import OVERHEAD, Job, Ready, Request, Spent
from kdsearch.run.worker import work_process

RESULTS = Path(__file__).parent / "results" / "memory.json"
MIB = 2**20
EARLY = 10  # trials after which a worker has grown up
LIMIT = 2.0  # percent


class Weight(NamedTuple):
    """A worker's memory in MiB; on the device 0 without CUDA."""

    resident: float
    own: float
    allocated: float
    reserved: float


class Weighed:
    """A worker's end of its pipe, which tells the worker's weight after each trial."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def send(self, message: tuple[Any, ...]) -> None:
        """As a Connection's."""
        self.connection.send(message)
        if isinstance(message, Spent) and message.part == OVERHEAD:  # said when a trial is done
            self.connection.send(weight())


def weight() -> Weight:
    host = psutil.Process().memory_full_info()
    on_device = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    return Weight(*(round(size / MIB, 2) for size in (host.rss, host.uss, *on_device)))


def weighed_worker(connection: Connection, job: Job) -> None:
    """The whole life of a worker process that is weighed."""
    work_process(Weighed(connection), job)


def weights(trials: int, epochs: int, folder: Path) -> list[Weight]:
    """Of one worker after each of its trials."""
    url = f"sqlite:///{folder / 'kdsearch.db'}"
    os.environ["KDSEARCH_STATE"] = str(folder)
    settings = {"training.epochs": epochs, "teacher.epochs": 1, "views.count": 2, "search.sampler": "random"}
    settings["finalists.count"] = 0
    request = Request(study="digits", values={**settings, "run.storage": url, "run.trials": trials})
    preparing = Child("kdsearch.run.preparing:prepare_process").begin(request)
    (prepared,) = [message.prepared for message in heard([preparing]) if isinstance(message, Ready)]
    worker = Child("__main__:weighed_worker").begin(Job("digits", url, prepared, 0, 1, 0, time.time()))
    return [message for message in heard([worker]) if isinstance(message, Weight)]


def show(found: list[Weight]) -> None:
    early, late = found[EARLY - 1], found[-1]
    print(f"\n{'MiB':10} {f'trial {EARLY}':>9} {f'trial {len(found)}':>9}   growth, at most {LIMIT:g} %")
    for name, before, after in zip(Weight._fields, early, late, strict=True):
        growth = 100 * (after / before - 1) if before else 0.0
        met = "reached" if growth <= LIMIT else "NOT REACHED"
        print(f"{name:10} {before:9.1f} {after:9.1f}   {growth:+.1f} %: {met}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="12 trials of 1 epoch; keeps nothing")
    quick = parser.parse_args().quick
    trials, epochs = (12, 1) if quick else (100, 5)
    cores, device = psutil.cpu_count(), describe(choose_device("auto"))
    machine = f"{cores} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, trained on {device}"
    print(machine)
    with tempfile.TemporaryDirectory() as folder:
        found = weights(trials, epochs, Path(folder))
    show(found)
    if not quick:
        kept = {"machine": machine, "trials": trials, "epochs": epochs, "fields": Weight._fields}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps({**kept, "weights": found}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
