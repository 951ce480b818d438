"""How many epochs an hour, with a teacher: a usual script, a competent one and kdsearch, on equal students.

    python benchmarks/speed.py              2 image sets, 4 students, 3 rounds, about 20 minutes on 2 cores
    python benchmarks/speed.py --workers    one worker of kdsearch beside two, 5 rounds, about 8 minutes
    python benchmarks/speed.py --quick      one image set, one student, one round; keeps nothing

    naive        `naive.py`: files decoded in each epoch by a DataLoader, the teacher in every step
    competent    `competent.py`: images in memory, batched augmentation, the teacher in every step
    one worker   a worker process of kdsearch as its supervisor starts it, one thread
    two workers  two of these side by side, each with students of its own, as `kdsearch run` does on two cores

food101-10, all 2,998 training images, is read from JPEGs of 128 pixels and trained at 64; of Fashion-MNIST
1,000 images are trained at 28. A quarter as many are scored after each epoch. The students, two of each
family, are drawn once with seed 0 at about 56,000 parameters; batches of 64, loss `kl`. An epoch holds its
validation, and what is logged of it; a student's first is not counted, as it compiles kernels. Each side of a
round is a fresh process, the sides take turns, and imports and a student's construction are left out. So is
the teacher's training, the same for all; here it is untrained, and answers no faster for that. kdsearch's
views are counted as they fall on an epoch when 100 trials of 30 epochs share 8 of them: by what one takes the
preparing process, alone on both cores.

Prints for each image set epochs an hour in the median of the rounds, with their range, and two workers over
each other side within each round. Keeps `benchmarks/results/speed.json` (`speed_workers.json`) after each
part, and goes on from there. Everything runs on the CPU.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import chdir
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

import optuna
from children import heard
from main_job import machine
from paired import Kept
from task import Task, fresh

from kdsearch.run.child import Child, quiet
from kdsearch.run.protocol import Job, Ready, Request, Spent
from kdsearch.store.facts import TrialFacts, attributes_of, trial_facts
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.storage import open_storage

RESULTS = Path(__file__).parent / "results"
WORKERS = {"one worker": 1, "two workers": 2}
SIDES = ("naive", "competent", *WORKERS)
VIEWS, EPOCHS = 8, 100 * 30  # of a search that shares these views
GOALS = {"naive": (4.5, 8.0), "competent": (1.6, 3.0), "one worker": (1.8, None)}  # at least, and wished for


class Scale(NamedTuple):
    """How much is trained."""

    images: dict[str, tuple[int, int]]  # training and validation, by image set
    students: int
    epochs: int  # of a student that are counted
    views: int  # that are timed
    rounds: int
    sides: tuple[str, ...]


FOOD, FASHION = "food101-10", "Fashion-MNIST"
WHOLE = Scale({FOOD: (3000, 750), FASHION: (1000, 250)}, 4, 1, 3, 3, SIDES)
SMALL = Scale({FOOD: (130, 60)}, 1, 1, 1, 1, SIDES)


def task_of(name: str, scale: Scale) -> Task:
    settings = {
        "training.batch_size": 64,
        "training.epochs": scale.epochs + 1,
        "distillation.loss": "kl",
        "student.fraction": 1.0,
    }
    if name == FOOD:
        return fresh("photos:food_task", scale.images[name], 0, settings)
    return fresh("photos:fashion_task", scale.images[name], settings)


class Kdsearch:
    """A study whose views are made, and whose workers train what they are given."""

    def __init__(self, task: Task, students: Sequence[dict[str, Any]], scale: Scale, folder: Path) -> None:
        self.students, self.given = students, 0
        self.url = f"sqlite:///{folder / 'kdsearch.db'}"
        self.seconds: list[float] = []  # of each view
        request = Request(
            study=task.study,
            values={
                **task.settings,
                "views.count": scale.views,
                "name": "speed",
                "run.storage": self.url,
                "data.path": task.folder,
                "teacher.checkpoint": task.teacher,
                "run.trials": 10_000,
            },
        )
        self.prepared = self._prepared(request)
        self.study = optuna.load_study(study_name="speed", storage=open_storage(self.url))

    def _prepared(self, request: Request) -> dict[str, Any]:
        prepared: dict[str, Any] = {}
        for message in heard([Child("kdsearch.run.preparing:prepare_process").begin(request)]):
            match message:
                case Spent(("first view" | "later views"), seconds):
                    self.seconds.append(seconds)
                case Ready(prepared):
                    pass
        return prepared

    def epochs(self, workers: int) -> list[float]:
        """What an epoch of each student takes while all workers are busy, but its first, in seconds."""
        first, self.given = self.given, self.given + workers * len(self.students)
        self.study.set_user_attr("target", self.given)
        for place in range(first, self.given):
            params = dict(self.students[place % len(self.students)])
            params["training.learning_rate"] *= 0.9999**place  # an equal trial would be refused
            attributes = {
                **attributes_of(TrialFacts.of_run(Run(SEARCH, place, 0))),
                "baseline": True,
            }  # no pruner asks about it
            self.study.enqueue_trial(params, user_attrs=attributes)
        jobs = [Job("speed", self.url, self.prepared, place, workers, first, 0.0) for place in range(workers)]
        for _ in heard([Child("kdsearch.run.worker:work_process").begin(job) for job in jobs]):
            pass
        return self._spent(first)

    def _spent(self, first: int) -> list[float]:
        record = StudyRecord(self.url, "speed")
        spans: list[tuple[int, float, float]] = []  # an epoch's student, its end, and what it took
        busy: dict[int, float] = {}  # until when each worker was
        for trial in self.study.get_trials(deepcopy=False):
            run = trial_facts(trial).run
            if run and run.place >= first:
                times = [result.finished_at for result in record.epochs(run)]
                student, worker = run.place % len(self.students), trial_facts(trial).worker.pid
                spans += [(student, after, after - before) for before, after in pairwise(times)]
                busy[worker] = max(busy.get(worker, 0.0), times[-1])
        counted = [(student, took) for student, end, took in spans if end <= min(busy.values())]
        return [fmean(took for one, took in counted if one == each) for each in range(len(self.students))]


def measure(name: str, task: Task, scale: Scale, kept: Kept) -> None:
    """Each part of one image set that is missing: the seconds of its epochs."""
    parts = {f"{name} {number} {side}": side for number in range(scale.rounds) for side in scale.sides}
    missing = {part: side for part, side in parts.items() if part not in kept.parts}
    if not missing:
        return
    students = fresh("recipe:draw_students", task, scale.students)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        os.environ |= {"KDSEARCH_CACHE": f"{folder}/cache", "KDSEARCH_STATE": f"{folder}/state"}
        kdsearch = Kdsearch(task, students, scale, Path(folder))
        if f"{name} views" not in kept.parts:
            kept.add(f"{name} views", rounded(kdsearch.seconds))
        for part, side in missing.items():
            if side in WORKERS:
                seconds = kdsearch.epochs(WORKERS[side])
            else:
                seconds = fresh(f"{side}:epochs", task, students)
            kept.add(part, rounded(seconds))
            print(part, json.dumps(kept.parts[part]), flush=True)


def rounded(seconds: Sequence[float]) -> list[float]:
    return [round(each, 3) for each in seconds]


def rates(name: str, scale: Scale, kept: Kept, *, views: bool) -> dict[str, list[float]]:
    """Epochs an hour of each side in each round; `views` counts what these take beside the training."""
    a_view = median(kept.parts[f"{name} views"])
    shared = VIEWS * a_view / EPOCHS if views else 0.0
    return {
        side: [
            3600
            / (
                fmean(kept.parts[f"{name} {number} {side}"]) / WORKERS.get(side, 1)
                + (shared if side in WORKERS else 0.0)
            )
            for number in range(scale.rounds)
        ]
        for side in scale.sides
    }


def show(name: str, scale: Scale, kept: Kept) -> None:
    with_views, without = (rates(name, scale, kept, views=views) for views in (True, False))
    seconds = median(kept.parts[f"{name} views"])
    print(f"\n{name}, {scale.images[name][0]:,} training images; a view takes {seconds:.1f} s")
    print(f"{'epochs an hour':14}{'median (range)':>28}{'without views':>16}   two workers over it (range)")
    for side, found in with_views.items():
        compared = without if side in WORKERS else with_views  # workers read the same views
        ratios = [two / other for two, other in zip(compared["two workers"], compared[side], strict=True)]
        least, wished = GOALS.get(side, (None, None))
        goal = f"  at least {least:g}: {word(ratios, least)}" if least else ""
        goal += f", wished {wished:g}: {word(ratios, wished)}" if wished else ""
        print(f"{side:14}{told(found, 0):>28}{median(without[side]):16.0f}   {told(ratios, 2)}{goal}")


def told(values: Sequence[float], digits: int) -> str:
    low, middle, high = min(values), median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def word(ratios: Sequence[float], goal: float) -> str:
    return "reached" if median(ratios) >= goal else "NOT REACHED"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", action="store_true", help="one worker beside two, 5 rounds")
    parser.add_argument("--quick", action="store_true", help="few images, one round; keeps nothing")
    options = parser.parse_args()
    scale = SMALL if options.quick else WHOLE
    if options.workers:
        scale = scale._replace(sides=tuple(WORKERS), rounds=1 if options.quick else 5, epochs=3)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    quiet()
    print(machine())
    path = RESULTS / ("speed_workers.json" if options.workers else "speed.json")
    kept = Kept(None if options.quick else path, scale._asdict(), machine())
    found = {name: task_of(name, scale) for name in scale.images}  # in the user's cache, unlike the views
    for name, task in found.items():
        measure(name, task, scale, kept)
    for name in scale.images:
        show(name, scale, kept)


if __name__ == "__main__":
    main()
