"""Trains the curves that `pruners.py` replays: random trials on two data sets, each to its end.

Each trial is a draw from the space of `wide` with the losses `ce` and `kl`, alpha from 0.1 to 0.95 and
temperature from 1 to 20: those with much of both start slowly.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import digits
import food
import optuna
import torch
from curves import packed, results
from fashion import alone
from optuna.samplers import RandomSampler
from paired import Kept, in_processes, machine
from torch import Tensor, nn

from kdsearch.engine.training import never
from kdsearch.models.families import FAMILIES
from kdsearch.models.student import student_outputs
from kdsearch.outputs import Outputs
from kdsearch.phases.bench import Bench
from kdsearch.phases.suggest import suggest_config
from kdsearch.run.child import quiet
from kdsearch.store.identity import stored_study
from kdsearch.store.runs import SEARCH, Run

PARTS = {"digits": digits, "food": food}
TRIALS, EPOCHS = {"digits": 100, "food": 50}, 12
TOGETHER = 10  # trials of one process: to prepare a study takes longer than an epoch
SETTINGS = {
    "training.epochs": EPOCHS,
    "training.batch_size": 64,
    "budget.max_params": 40_000,
    "student.family": list(FAMILIES),
    "student.stages": 3,
    **{f"student.depth_{stage}": {"low": 1, "high": 2} for stage in (1, 2, 3)},
    "student.growth": {"low": 1.2, "high": 2.0},
    "student.activation": ["relu", "relu6", "hardswish", "silu"],
    "student.downsampling": ["stride", "pool"],
    "distillation.alpha": {"low": 0.1, "high": 0.95},
}


class Overheard:
    """What a student answers to the validation images, kept as it is scored."""

    def __init__(self) -> None:
        self.answers: list[Tensor] = []

    def __call__(self, network: nn.Module, images: Tensor) -> Outputs:
        outputs = student_outputs(network, images)
        if not network.training:
            self.answers.append(outputs.logits.argmax(dim=1))
        return outputs


def record() -> None:
    """Trains what is missing, each data set after the other, by two processes."""
    print(machine())
    quiet()
    for name, part in PARTS.items():
        settings = {"part": part.FULL, **SETTINGS}
        kept = Kept(results(name), settings)
        numbers = [number for number in range(TRIALS[name]) if f"{number:03}" not in kept.parts]
        if numbers:
            part.teacher(part.FULL)
            list(in_processes(make_views, [name]))
        jobs = [(name, numbers[first : first + TOGETHER]) for first in range(0, len(numbers), TOGETHER)]
        for found in in_processes(train, jobs):
            for number, curve in found.items():
                kept.add(number, curve)
                print(name, number, curve["family"], curve["loss"], curve["accuracy"][-1], flush=True)


def make_views(name: str) -> None:
    """So that neither process waits for the other one's views."""
    alone()
    with tempfile.TemporaryDirectory() as folder:
        PARTS[name].open_new("views", 0, PARTS[name].FULL, Path(folder), SETTINGS)


def train(job: tuple[str, Sequence[int]]) -> dict[str, dict[str, Any]]:
    """The curves of these trials, by number."""
    name, numbers = job
    alone()
    with tempfile.TemporaryDirectory() as folder:
        opened = PARTS[name].open_new("curves", 0, PARTS[name].FULL, Path(folder), SETTINGS)
        bench = Bench(stored_study(opened.study), opened.prepared, opened.record, never)
        return {f"{number:03}": _train(bench, number) for number in numbers}


def _train(bench: Bench, number: int) -> dict[str, Any]:
    trial = optuna.create_study(sampler=RandomSampler(number)).ask()
    config = suggest_config(trial, bench)
    training = bench.training(config, Run(SEARCH, number, 0))
    training.answer = heard = Overheard()
    results, labels = list(training), bench.validation.labels
    right = torch.cat(heard.answers).reshape(len(results), -1) == labels
    return {
        "family": trial.params["student.family"],
        "loss": config.loss,
        "alpha": round(config.alpha, 4),
        "temperature": round(config.losses.get("kl", {}).get("temperature", 0.0), 3),
        "learning_rate": round(config.training.learning_rate, 5),
        "seconds": round(sum(result.seconds for result in results), 1),
        "images": len(labels),
        "accuracy": [round(result.val_accuracy, 4) for result in results],
        "right": packed(right.numpy()),
    }
