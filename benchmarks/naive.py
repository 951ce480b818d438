"""A search as it is usually written: ImageFolder, a DataLoader with workers, the teacher in every step.

    python benchmarks/naive.py --data FOLDER --teacher FILE --trials 16 --epochs 8 [--seed 0]

FOLDER has train/CLASS/FILE and validation/CLASS/FILE, FILE the weights of a ResNet18. Optuna's TPE and median
pruner in one process, trials in a SQLite file, each epoch logged to MLflow in another, both in the current
folder. The space is that of the shipped study `food11` at 64 pixels. Transforms run on Pillow's images, which
is faster than on tensors here, and crops are cut from the photo as it is in its file. Prints the trials as
one line of JSON.
"""

import json
from collections.abc import Iterator
from typing import Any

import mlflow
import optuna
import torch
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from recipe import Space, averaged, config_of, distillation, finished, given, load_teacher
from task import Task, epoch_seconds
from torch import nn
from torch.optim import AdamW
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from kdsearch.engine.optimizers import cosine
from kdsearch.models.student import build_student
from kdsearch.phases.suggest import suggest_config
from kdsearch.study.trial_config import TrialConfig
from kdsearch.tables import AugmentationConfig

TENSOR = (v2.ToImage(), v2.ToDtype(torch.float32, scale=True))
WORKERS = 2


class Script:
    """Loaders and teacher, and what is done with them for a student."""

    def __init__(self, task: Task) -> None:
        self.space = Space(task)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        size = self.space.image_size
        batch = self.space.study.training.fixed["batch_size"]
        change = v2.Compose([*augmentation(self.space.study.augmentation, size), *TENSOR])
        keep = v2.Compose([v2.Resize(size), v2.CenterCrop(size), *TENSOR])
        workers = {"num_workers": WORKERS, "persistent_workers": True}
        self.images = DataLoader(ImageFolder(f"{task.folder}/train", change), batch, shuffle=True, **workers)
        self.validation = DataLoader(ImageFolder(f"{task.folder}/validation", keep), 256, **workers)
        self.teacher = load_teacher(task).to(self.device)

    def train(self, config: TrialConfig) -> Iterator[float]:
        """The validation accuracy after each epoch, logged to the active run."""
        student = build_student(config.student).to(self.device)
        settings, steps = config.training, len(self.images)
        optimizer = AdamW(student.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
        schedule = cosine(optimizer, settings.epochs * steps, settings.warmup)
        average = averaged(student, config, steps)
        for epoch in range(settings.epochs):
            student.train()
            total = 0.0
            for batch in self.images:
                images, labels = (part.to(self.device) for part in batch)
                with torch.no_grad():
                    taught = self.teacher(images).logits if config.losses else None
                loss = distillation(config, student(images), taught, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                average.update_parameters(student)
                total += loss.item()
            accuracy = self.accuracy(average)
            mlflow.log_metrics({"train_loss": total / steps, "val_accuracy": accuracy}, step=epoch)
            yield accuracy

    @torch.no_grad()
    def accuracy(self, network: nn.Module) -> float:
        network.eval()
        correct = sum(
            int((network(images.to(self.device)).argmax(1) == labels.to(self.device)).sum())
            for images, labels in self.validation
        )
        return correct / len(self.validation.dataset)

    def objective(self, trial: optuna.Trial) -> float:
        config = suggest_config(trial, self.space)
        with mlflow.start_run(run_name=f"trial {trial.number}"):
            mlflow.log_params(trial.params)
            for epoch, accuracy in enumerate(self.train(config)):
                trial.report(accuracy, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
        return accuracy


def augmentation(config: AugmentationConfig, size: int) -> list[nn.Module]:
    """The study's, by torchvision: one draw for each image."""
    steps: list[nn.Module] = []
    if config.crop == "padded":
        steps.append(v2.RandomCrop(size, padding=round(config.padding * size)))
    if config.crop == "resized":
        steps.append(v2.RandomResizedCrop(size, scale=(config.scale, 1.0)))
    if config.flip:
        steps.append(v2.RandomHorizontalFlip())
    if config.rotation:
        steps.append(v2.RandomRotation(config.rotation))
    if config.jitter:
        steps.append(v2.ColorJitter(config.jitter, config.jitter, config.jitter))
    return steps


def search(task: Task, trials: int, seed: int) -> list[dict[str, Any]]:
    """The whole search, in the current folder; returns its trials."""
    torch.manual_seed(seed)
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("naive")
    script = Script(task)
    study = optuna.create_study(
        study_name="naive",
        storage="sqlite:///optuna.db",
        direction="maximize",
        sampler=TPESampler(seed=seed),
        pruner=MedianPruner(n_warmup_steps=3),
    )
    study.optimize(script.objective, n_trials=trials)
    return finished(study)


def epochs(task: Task, students: list[dict[str, Any]]) -> list[float]:
    """What each epoch but a student's first takes, in seconds."""
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    script = Script(task)
    with mlflow.start_run():
        return epoch_seconds(script.train(config_of(params, script.space)) for params in students)


if __name__ == "__main__":
    print(json.dumps(search(*given(__doc__ or ""))))
