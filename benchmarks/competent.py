"""A search as one can write it in a day: images in memory, batched augmentation, the teacher in every step.

    python benchmarks/competent.py --data FOLDER --teacher FILE --trials 16 --epochs 8 [--seed 0]

The same arguments, space and training as `naive.py`. The images are decoded once and stay in memory as bytes,
kornia changes a batch at once, convolutions run channels last, the optimizer is fused, CUDA computes in
bfloat16. Optuna keeps its trials in memory; MLflow hears of a trial when that has ended. No answer of the
teacher is kept. Prints the trials as one line of JSON.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mlflow
import optuna
import torch
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from recipe import Space, averaged, config_of, distillation, finished, given, load_teacher
from task import Task, epoch_seconds
from torch import Tensor, nn
from torch.optim import AdamW
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from kdsearch.engine.optimizers import cosine
from kdsearch.models.student import build_student
from kdsearch.phases.suggest import suggest_config
from kdsearch.study.trial_config import TrialConfig
from kdsearch.views.augment import Augmentation

LAST = torch.channels_last


class Script:
    """Images and teacher, and what is done with them for a student."""

    def __init__(self, task: Task) -> None:
        self.space = Space(task)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        size = self.space.image_size
        self.augment = Augmentation(self.space.study.augmentation, size)
        self.images, self.labels = self.decoded(f"{task.folder}/train", size)
        self.validation = self.decoded(f"{task.folder}/validation", size)
        self.teacher = load_teacher(task).to(self.device, memory_format=LAST)

    def decoded(self, folder: str, size: int) -> tuple[Tensor, Tensor]:
        """All images, uint8 N x 3 x size x size, with their labels."""
        data = ImageFolder(folder, v2.Compose([v2.Resize(size), v2.CenterCrop(size), v2.PILToTensor()]))
        with ThreadPoolExecutor() as threads:
            images, labels = zip(*threads.map(data.__getitem__, range(len(data))), strict=True)
        return torch.stack(images).to(self.device), torch.tensor(labels, device=self.device)

    def train(self, config: TrialConfig) -> Iterator[tuple[float, float]]:
        """The training loss and the validation accuracy after each epoch."""
        student = build_student(config.student).to(self.device, memory_format=LAST)
        settings, steps = config.training, -(-len(self.images) // config.training.batch_size)
        optimizer = AdamW(
            student.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        schedule = cosine(optimizer, settings.epochs * steps, settings.warmup)
        average = averaged(student, config, steps)
        for _ in range(settings.epochs):
            student.train()
            total = torch.zeros((), device=self.device)
            for rows in torch.randperm(len(self.images), device=self.device).chunk(steps):
                images, labels = self.changed(self.images[rows]), self.labels[rows]
                with self.autocast():
                    with torch.inference_mode():
                        taught = self.teacher(images).logits.float() if config.losses else None
                    logits = student(images)
                loss = distillation(config, logits.float(), taught, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                average.update_parameters(student)
                total += loss.detach()
            yield total.item() / steps, self.accuracy(average)

    @torch.no_grad()
    def changed(self, images: Tensor) -> Tensor:
        """Augmented, float, channels last."""
        changed = self.augment(images, int(torch.randint(2**62, ())))
        return changed.float().div_(255).contiguous(memory_format=LAST)

    def autocast(self) -> torch.autocast:
        on_cuda = self.device.type == "cuda"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=on_cuda)

    @torch.inference_mode()
    def accuracy(self, network: nn.Module) -> float:
        network.eval()
        images, labels = self.validation
        with self.autocast():
            answers = [network(part.float().div_(255)).argmax(1) for part in images.split(256)]
        return float((torch.cat(answers) == labels).float().mean())

    def objective(self, trial: optuna.Trial) -> float:
        config = suggest_config(trial, self.space)
        with mlflow.start_run(run_name=f"trial {trial.number}"):
            for epoch, result in enumerate(self.train(config)):
                loss, accuracy = result
                trial.report(accuracy, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
            mlflow.log_params(trial.params)
            mlflow.log_metrics({"train_loss": loss, "val_accuracy": accuracy})
        return accuracy


def search(task: Task, trials: int, seed: int) -> list[dict[str, Any]]:
    """The whole search; MLflow's file lies in the current folder. Returns its trials."""
    torch.manual_seed(seed)
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("competent")
    script = Script(task)
    study = optuna.create_study(
        direction="maximize", sampler=TPESampler(seed=seed), pruner=MedianPruner(n_warmup_steps=3)
    )
    study.optimize(script.objective, n_trials=trials)
    return finished(study)


def epochs(task: Task, students: list[dict[str, Any]]) -> list[float]:
    """What each epoch but a student's first takes, in seconds."""
    script = Script(task)
    return epoch_seconds(script.train(config_of(params, script.space)) for params in students)


if __name__ == "__main__":
    print(json.dumps(search(*given(__doc__ or ""))))
