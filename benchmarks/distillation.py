"""Which distillation losses pay on a part of Fashion-MNIST: each less cross-entropy alone.

    python benchmarks/distillation.py            19 losses, 4 students, 2 seeds, about 30 minutes on 2 cores
    python benchmarks/distillation.py --quick    1 student, 2 seeds, 2 epochs; keeps nothing

Student, its first weights, the views and their order are the same for all losses of a pair (student, seed);
alpha is 0.5, and the training settings and what a loss's name does not say are kdsearch's defaults. The
teacher's feature maps, which a search computes anew in each trial, are kept here from one training to the
next: they are the same.

Prints for each loss the mean accuracy on the test images and what it is more than that of `ce`, with a 95 %
interval over the pairs: `not shown` where that holds zero. Keeps `benchmarks/results/distillation.json` after
each student of a seed, and goes on from there.
"""

import argparse
import hashlib
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from fashion import FULL, QUICK, Size, alone, open_new, teacher, test_images
from paired import Kept, in_processes, interval, machine
from torch import Tensor

from kdsearch.cache import locked
from kdsearch.distill import LOSSES
from kdsearch.engine.evaluate import evaluate
from kdsearch.engine.training import Training, never
from kdsearch.models.measure import parameters_of
from kdsearch.models.student import student_outputs
from kdsearch.outputs import Outputs
from kdsearch.phases.bench import Bench
from kdsearch.run.child import quiet
from kdsearch.store.identity import stored_study
from kdsearch.store.runs import SEARCH, Run
from kdsearch.study.architecture import Architecture
from kdsearch.study.distillation import loss_names
from kdsearch.study.teachers import ONLY
from kdsearch.study.trial_config import TrialConfig
from kdsearch.teachers.stored import LiveTeacher

RESULTS = Path(__file__).parent / "results" / "distillation.json"
MAX_PARAMS = 30_000
STUDENTS = {
    "plain": Architecture(family="plain", depth_1=1, depth_2=1, depth_3=1),
    "dwsep": Architecture(family="dwsep", depth_1=1, depth_2=2, depth_3=2),
    "grouped": Architecture(family="grouped", depth_1=1, depth_2=1, depth_3=2),
    "shuffle": Architecture(family="shuffle", depth_1=1, depth_2=2, depth_3=1),
}
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {  # than a loss at its defaults
    "kl standardised": ("kl", {"kl": {"standardise": True}}),
    "dkd, others 8": ("dkd", {"dkd": {"others": 8.0}}),  # the paper's weight for CIFAR-100
    "dm, euclidean": ("dm", {"dm": {"metric": "euclidean"}}),
    "dm, euclidean 0.001": ("dm", {"dm": {"metric": "euclidean", "weight": 0.001}}),
    "kl+dm, euclidean": ("kl+dm", {"dm": {"metric": "euclidean"}}),
    "at 100": ("at", {"at": {"weight": 100.0}}),
    "sp 3000": ("sp", {"sp": {"weight": 3000.0}}),
}
TRIED = (
    "ce",
    *("kl", "kl standardised", "dkd", "dkd, others 8", "dist"),
    *("rkd", "dm", "dm, euclidean", "dm, euclidean 0.001"),
    *("fitnet", "at", "at 100", "sp", "sp 3000"),
    *("kl+rkd", "kl+dm", "kl+dm, euclidean", "kl+fitnet"),
)


class Scale(NamedTuple):
    """How much is trained."""

    size: Size
    seeds: int
    epochs: int
    students: tuple[str, ...]


WHOLE = Scale(FULL, 2, 8, tuple(STUDENTS))
SMALL = Scale(QUICK, 2, 2, ("plain",))


class Remembered:
    """The live teacher, asked once for each batch; of its maps the two that the default layers name."""

    def __init__(self, live: LiveTeacher, folder: Path) -> None:
        self.live, self.folder = live, folder
        names = list(live.teacher.shapes.hints)
        self.names = {names[len(names) // 2], names[-1]}

    def __call__(self, images: Tensor) -> Outputs:
        path = self.folder / hashlib.blake2b(images.numpy().data, digest_size=16).hexdigest()
        with locked(path):
            if not path.exists():
                hints = self.live(images).hints
                torch.save({name: hints[name].half().contiguous() for name in self.names}, path)
        hints = {name: hint.float() for name, hint in torch.load(path).items()}
        return Outputs(images[:0], images[:0], hints)


def run_student(job: tuple[Scale, int, Path, tuple[str, ...]]) -> dict[str, Any]:
    """The trainings of one student and one seed that are missing, by `seed student loss`."""
    scale, seed, hints, missing = job
    alone()
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "distillation.loss": ["ce", *LOSSES],
            "training.epochs": scale.epochs,
            "budget.max_params": MAX_PARAMS,
        }
        opened = open_new("losses", seed, scale.size, Path(folder), settings)
        bench = Bench(stored_study(opened.study), opened.prepared, opened.record, never)
        bench.live_teachers[ONLY] = Remembered(bench.live_teacher(ONLY), hints)
        test = test_images(scale.size)
        return {name: train(bench, scale, name, test) for name in missing}


def train(bench: Bench, scale: Scale, name: str, test: tuple[Tensor, Tensor]) -> dict[str, Any]:
    _, student, tried = name.split(" ", 2)
    loss, given = OTHERS.get(tried, (tried, {}))
    shape = STUDENTS[student].student({}, bench.classes, bench.image_size)
    config = TrialConfig(
        student=bench.fitted(shape, 1.0),
        loss=loss,
        losses={each: LOSSES[each].Config(**given.get(each, {})).model_dump() for each in loss_names(loss)},
        alpha=0.5 if loss_names(loss) else 0.0,
        training=Training.Config(epochs=scale.epochs),
    )
    training = bench.training(config, Run(SEARCH, list(STUDENTS).index(student), 0))
    results = list(training)
    return {
        "test_accuracy": round(evaluate(training.final, student_outputs, *test).accuracy, 5),
        "parameters": parameters_of(config.student),
        "parts": {part: round(value, 4) for part, value in results[-1].parts.items()},
        "seconds": round(sum(result.seconds for result in results), 1),
    }


def show(trained: dict[str, Any], scale: Scale) -> None:
    """Each loss in the mean of all pairs, its difference to `ce`, and that difference for each student."""
    seeds = range(scale.seeds)
    print(f"\n{'':19} test accuracy   less that of ce, points, 95 % interval" + " " * 10, end="")
    print("".join(f"{student:>9}" for student in scale.students))
    for loss in TRIED:
        more = {
            student: [
                trained[f"{seed} {student} {loss}"]["test_accuracy"]
                - trained[f"{seed} {student} ce"]["test_accuracy"]
                for seed in seeds
            ]
            for student in scale.students
        }
        mean = statistics.fmean(
            trained[f"{seed} {student} {loss}"]["test_accuracy"]
            for seed in seeds
            for student in scale.students
        )
        told = interval([each for pairs in more.values() for each in pairs]).told(100) if loss != "ce" else ""
        by_student = "".join(f"{100 * statistics.fmean(pairs):+9.2f}" for pairs in more.values())
        print(f"{loss:19} {mean:13.2%}   {told:46}{by_student}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1 student, 2 seeds, 2 epochs; keeps nothing")
    scale = SMALL if parser.parse_args().quick else WHOLE
    print(machine())
    settings = {"size": scale.size._asdict(), "epochs": scale.epochs, "max_params": MAX_PARAMS}
    kept = Kept(None if scale is SMALL else RESULTS, settings)
    names = [
        (seed, [f"{seed} {student} {loss}" for loss in TRIED])
        for seed in range(scale.seeds)
        for student in scale.students
    ]
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            (scale, seed, Path(folder), missing)
            for seed, named in names
            if (missing := tuple(name for name in named if name not in kept.parts))
        ]
        if jobs:
            quiet()
            teacher(scale.size)
        for found in in_processes(run_student, jobs):
            for name, training in found.items():
                kept.add(name, training)
                print(name, json.dumps(training), flush=True)
    show(kept.parts, scale)


if __name__ == "__main__":
    main()
