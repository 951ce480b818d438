"""What `naive` and `competent` have from kdsearch, so that all sides train the same: space and students.

The training is kdsearch's own in plain torch: AdamW with a cosine schedule, cross-entropy and softened KL, an
average of the weights over half an epoch, whose accuracy counts.
"""

import argparse
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial, TrialState
from task import Task
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from kdsearch.models.measure import parameters_of
from kdsearch.models.student import StudentConfig
from kdsearch.models.teachers import Teacher, build_teacher
from kdsearch.models.weights import load_weights, read_weights
from kdsearch.phases.bench import Bench
from kdsearch.phases.suggest import suggest_config
from kdsearch.run.child import quiet
from kdsearch.store.trials import StudyTrial
from kdsearch.study.file import load_study
from kdsearch.study.trial_config import TrialConfig

CLASSES = 10
PARAMETERS = 56_000


class Space(Bench):
    """Of kdsearch's bench what is asked for a trial's settings."""

    def __init__(self, task: Task) -> None:
        self.study = load_study(task.study, task.settings)
        self.image_size: int = task.settings["data.image_size"]
        self.classes = CLASSES

    def normalised(self, student: StudentConfig) -> StudentConfig:
        """As it comes: 0.5 for mean and deviation."""
        return student


def draw_students(task: Task, count: int) -> list[dict[str, Any]]:
    """The parameters of trials drawn with seed 0, family by family, of students within 5 % of PARAMETERS."""
    quiet()
    study, space = optuna.create_study(sampler=RandomSampler(0)), Space(task)
    families, found = list(space.study.families), []
    while len(found) < count:
        study.enqueue_trial({"student.family": families[len(found) % len(families)]})
        trial = study.ask()
        student = suggest_config(trial, space).student
        if abs(parameters_of(student) / PARAMETERS - 1) < 0.05:
            found.append(trial.params)
    return found


def config_of(params: dict[str, Any], space: Space) -> TrialConfig:
    """What a trial with these parameters trains."""
    return suggest_config(FixedTrial(params), space)


def load_teacher(task: Task) -> Teacher:
    """The trained ResNet18, frozen."""
    image_size = task.settings["data.image_size"]
    teacher = build_teacher("resnet18", CLASSES, image_size, (0.5,) * 3, (0.5,) * 3)
    load_weights(teacher, read_weights(Path(task.teacher)), task.teacher)
    return teacher.eval().requires_grad_(requires_grad=False)


def distillation(config: TrialConfig, logits: Tensor, teacher: Tensor | None, labels: Tensor) -> Tensor:
    """`(1 - alpha) CE + alpha T^2 KL(teacher || student)`; the cross-entropy alone without a teacher."""
    hard = cross_entropy(logits, labels)
    if teacher is None:
        return hard
    temperature = config.losses["kl"]["temperature"]
    soft = kl_div(
        log_softmax(logits / temperature, 1),
        log_softmax(teacher / temperature, 1),
        reduction="batchmean",
        log_target=True,
    )
    return (1 - config.alpha) * hard + config.alpha * temperature**2 * soft


def averaged(student: nn.Module, config: TrialConfig, steps: int) -> AveragedModel:
    """The moving average of the weights and buffers; `steps` are those of an epoch."""
    share = 1 / max(1.0, config.training.ema_epochs * steps)
    return AveragedModel(student, multi_avg_fn=get_ema_multi_avg_fn(1 - share), use_buffers=True)


def finished(study: optuna.Study) -> list[dict[str, Any]]:
    """Of each trial its end in seconds since 1970, its state, its value and how many epochs it trained."""
    return [
        {
            "ended": trial.datetime_complete.timestamp(),
            "state": trial.state.name,
            "value": round(trial.value, 5) if trial.state == TrialState.COMPLETE else None,
            "epochs": StudyTrial.of(trial).epochs,
        }
        for trial in study.trials
        if trial.datetime_complete and trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    ]


def stored_trials(database: str, study: str) -> list[dict[str, Any]]:
    """The same of a study that lies in a SQLite file."""
    return finished(optuna.load_study(study_name=study, storage=f"sqlite:///{database}"))


def given(description: str) -> tuple[Task, int, int]:
    """Images, teacher and space, trials, and seed, as the scripts' command line says."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--study", default="food11")
    parser.add_argument("--size", default=64, type=int, help="pixels a side")
    parser.add_argument("--batch", default=64, type=int)
    parser.add_argument("--epochs", default=8, type=int)
    parser.add_argument("--trials", default=16, type=int)
    parser.add_argument("--seed", default=0, type=int)
    told = parser.parse_args()
    settings = {
        "data.image_size": told.size,
        "training.batch_size": told.batch,
        "training.epochs": told.epochs,
    }
    return Task(told.study, told.data, told.teacher, settings), told.trials, told.seed
