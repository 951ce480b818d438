"""Training one network: iterate over a `Training` to get an EpochResult an epoch."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, convert_conv2d_weight_memory_format
from torch.optim import Optimizer

from kdsearch.config import Range, Record
from kdsearch.device import autocast, forked, seeded
from kdsearch.distill.objective import Objective
from kdsearch.engine.evaluate import Answer, evaluate
from kdsearch.engine.optimizers import OPTIMIZERS, SCHEDULES, Average, decayed_groups
from kdsearch.epoch import EpochResult
from kdsearch.models.student import as_input, student_outputs
from kdsearch.views.batches import Batch, Batches


class InterruptedTrainingError(Exception):
    """The training was asked to stop; its state is whole and can be saved."""


class Labelled(NamedTuple):
    """Validation images, uint8 N x C x H x W, with labels N.

    The labels are on the training's device; the images too, unless there was no room for them.
    """

    images: Tensor
    labels: Tensor


def never() -> bool:
    """A training that nobody stops."""
    return False


class Training:
    """Trains `network` by `objective`; the same seed, batches and device give the same numbers.

    After each epoch it scores the validation set, with the exponential moving average of the weights if that
    is on; these weights, `final`, are the result. The state can be saved between any two steps.
    """

    class Config(Record):
        epochs: Annotated[int, Field(ge=1)] = 30
        batch_size: Annotated[int, Field(ge=2)] = 64
        optimizer: Literal["adamw", "adam", "sgd", "muon"] = "adamw"
        learning_rate: Annotated[float, Field(gt=0), Range(1e-3, 3e-2, log=True)] = 1e-2
        weight_decay: Annotated[float, Field(ge=0), Range(1e-4, 1e-1, log=True)] = 1e-2
        decay_norms: bool = True  # weight decay of biases, norms and learned scales too
        clip: Annotated[float, Field(ge=0)] = 0.0  # largest norm of the whole gradient; 0: any
        schedule: Literal["cosine", "onecycle", "constant"] = "cosine"
        warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1  # share of all steps
        label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
        ema_epochs: Annotated[float, Field(ge=0)] = 0.5  # horizon of the average; 0 turns it off
        finish_epochs: Annotated[int, Field(ge=0)] = 0  # at the end, by another optimizer at a constant rate
        finish_optimizer: Literal["adamw", "adam", "sgd"] = "sgd"
        finish_rate: Annotated[float, Field(gt=0)] = 2e-3
        finish_decay: Annotated[float, Field(ge=0)] = 0.0

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        config: Config,
        batches: Batches,
        validation: Labelled,
        *,
        seed: int,
        answer: Answer = student_outputs,
        stop: Callable[[], bool] = never,
    ) -> None:
        self.config, self.batches, self.validation = config, batches, validation
        self.answer, self.stop = answer, stop
        self.device = validation.labels.device
        self.network = convert_conv2d_weight_memory_format(network.to(self.device), torch.channels_last)
        self.objective = objective.to(self.device)
        self.first_epochs = config.epochs - config.finish_epochs
        self._begin()
        horizon = config.ema_epochs * batches.steps
        self.average = Average(self.network, max(1.0, horizon)) if horizon else None
        self.results: list[EpochResult] = []
        self.step = 0  # within the epoch that len(results) numbers
        self.sums: dict[str, Tensor] = {}
        self.random = self._first_random(seed)

    @property
    def last(self) -> EpochResult:
        return self.results[-1]

    @property
    def final(self) -> nn.Module:
        """The network whose accuracy is reported: the averaged one if averaging is on."""
        return self.average.network if self.average else self.network

    def __iter__(self) -> Iterator[EpochResult]:
        """One EpochResult for each epoch left. Raises InterruptedTrainingError when `stop()` says so."""
        while len(self.results) < self.config.epochs:
            if self._finish_is_due:
                self._finish()
            yield self._epoch()

    @property
    def _finish_is_due(self) -> bool:
        """Whether the first of the last epochs comes next."""
        return len(self.results) == self.first_epochs and self.step == 0

    def _begin(self) -> None:
        config, steps = self.config, self.first_epochs * self.batches.steps
        self.optimizer = self._optimizer(config.optimizer, config.learning_rate, config.weight_decay)
        self.schedule = SCHEDULES[config.schedule](self.optimizer, steps, config.warmup)

    def _finish(self) -> None:
        """The optimizer and the schedule of the last epochs: some published recipes train in two phases."""
        config = self.config
        self.optimizer = self._optimizer(config.finish_optimizer, config.finish_rate, config.finish_decay)
        self.schedule = SCHEDULES["constant"](self.optimizer, 1, 0.0)

    def _optimizer(self, name: str, rate: float, decay: float) -> Optimizer:
        return OPTIMIZERS[name](self._groups(rate), lr=rate, weight_decay=decay)

    def _groups(self, rate: float) -> list[dict[str, Any]]:
        """The parameters in the optimizer's groups, which may have settings of their own beside `rate`."""
        return decayed_groups(self._parameters(), decay_norms=self.config.decay_norms)

    def _parameters(self) -> list[nn.Parameter]:
        """What is learned: the network, and the regressors of losses that read feature maps."""
        return [*self.network.parameters(), *self.objective.parameters()]

    def _epoch(self) -> EpochResult:
        started, images = time.perf_counter(), 0
        epoch = len(self.results)
        self.objective.progress = epoch / self.config.epochs
        self.network.train()
        with self._own_random():
            for batch in self.batches.epoch(epoch, self.step):
                if self.stop():
                    raise InterruptedTrainingError(f"stopped in epoch {epoch}, step {self.step}")
                rate = self.optimizer.param_groups[0]["lr"]
                self._train(batch)
                images += len(batch.labels)
        parts = self._means()
        trained = time.perf_counter() - started
        score = evaluate(self.final, self.answer, self.validation.images, self.validation.labels)
        result = EpochResult(
            epoch=epoch,
            train_loss=parts.pop("loss"),
            parts=parts,
            val_loss=score.loss,
            val_accuracy=score.accuracy,
            learning_rate=rate,
            images_per_second=images / trained,
            seconds=time.perf_counter() - started,
            finished_at=time.time(),
        )
        self.results.append(result)
        self.step, self.sums = 0, {}
        return result

    def _train(self, batch: Batch) -> None:
        with autocast(self.device):
            outputs = self.answer(self.network, as_input(batch.images))
        loss, parts = self.objective(outputs, batch.teacher, batch.labels, batch.mixed)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.config.clip:
            clip_grad_norm_(self._parameters(), self.config.clip)
        self.optimizer.step()
        self.schedule.step()
        if self.average:
            self.average.follow(wholly=not self.results and self.step == 0)
        count = len(batch.labels)
        for name, value in {"loss": loss.detach(), **parts}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * count
        self.sums["images"] = self.sums.get("images", 0) + torch.full((), float(count))
        self.step += 1

    def _means(self) -> dict[str, float]:
        images = self.sums.pop("images").item()
        names, sums = zip(*self.sums.items(), strict=True)
        return {name: total / images for name, total in zip(names, torch.stack(sums).tolist(), strict=True)}

    def _first_random(self, seed: int) -> Tensor:
        with seeded(seed, self.device):
            return self._random_state()

    def _random_state(self) -> Tensor:
        on_cuda = self.device.type == "cuda"
        return torch.cuda.get_rng_state(self.device) if on_cuda else torch.get_rng_state()

    @contextmanager
    def _own_random(self) -> Iterator[None]:
        """Gives torch's global generator, for dropout, this training's own state in the block."""
        with forked(self.device):
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(self.random, self.device)
            else:
                torch.set_rng_state(self.random)
            try:
                yield
            finally:
                self.random = self._random_state()

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the rest of the training depends on: tensors by name, and the JSON-able rest."""
        optimizer = self.optimizer.state_dict()
        moments = {f"{i}.{name}": t for i, state in optimizer["state"].items() for name, t in state.items()}
        groups: dict[str, dict[str, Tensor]] = {
            "network": self.network.state_dict(),
            "objective": self.objective.state_dict(),
            "average": self.average.network.state_dict() if self.average else {},
            "optimizer": moments,
            "sums": self.sums,
            "random": {"state": self.random},
        }
        tensors = {f"{group}/{name}": t for group, named in groups.items() for name, t in named.items()}
        rest = {
            "step": self.step,
            "results": [result.model_dump() for result in self.results],
            "groups": optimizer["param_groups"],
            "schedule": self.schedule.state_dict(),
        }
        return tensors, rest

    def load_state_dict(self, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
        """Restores the state that `state_dict` returned.

        Raises one of `checkpoint.UNUSABLE` for the state of another network, device or version; then the
        training is only partly restored and cannot be used.
        """
        groups: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            group, name = key.split("/", 1)
            groups.setdefault(group, {})[name] = tensor
        self.network.load_state_dict(groups["network"])
        self.objective.load_state_dict(groups.get("objective", {}))
        if self.average:
            self.average.network.load_state_dict(groups["average"])
        self.step = rest["step"]
        self.results = [EpochResult.model_validate(result) for result in rest["results"]]
        self.sums = {name: t.to(self.device) for name, t in groups.get("sums", {}).items()}
        self.random = groups["random"]["state"]
        with self._own_random():
            pass  # that of another kind of device is an error here, not in the next epoch
        if self._finish_is_due:
            return
        if len(self.results) >= self.first_epochs:
            self._finish()
        self._load_optimizer(groups.get("optimizer", {}), rest["groups"])
        self.schedule.load_state_dict(rest["schedule"])

    def _load_optimizer(self, moments: dict[str, Tensor], groups: list[dict[str, Any]]) -> None:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in moments.items():
            index, name = key.split(".", 1)
            like = parameters[int(index)]
            # Files hold rows in order; the optimizer's fast path wants the parameter's own memory format.
            shaped = torch.empty_like(like).copy_(tensor) if tensor.dim() else tensor
            state.setdefault(int(index), {})[name] = shaped
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
