"""The objects that all trials of a worker share."""

import os
import time
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import psutil
import torch
from pydantic import Field

from kdsearch.cache import hold
from kdsearch.config import Record
from kdsearch.data.image_set import SearchSets
from kdsearch.device import placed, seeded
from kdsearch.engine.checkpoint import EVERY, Checkpoint
from kdsearch.engine.lean import compiler_back, in_place
from kdsearch.engine.training import InterruptedTrainingError, Labelled, Training
from kdsearch.epoch import EpochResult
from kdsearch.errors import CacheClearedError, CacheDamagedError, KdsearchError
from kdsearch.models.published import PublishedConfig
from kdsearch.models.student import StudentConfig, build_student
from kdsearch.models.width import solve_width
from kdsearch.phases.samplers import PRUNERS, Pruner
from kdsearch.progress import Silence
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import Run
from kdsearch.study.budget import fitting
from kdsearch.study.file import Study
from kdsearch.study.trial_config import TrialConfig
from kdsearch.views.bank import ViewBank
from kdsearch.views.batches import ViewBatches, derived_seed

if TYPE_CHECKING:
    from kdsearch.teachers.stored import LiveTeacher

SILENCE = Silence()
Student = TypeVar("Student", StudentConfig, PublishedConfig)


class Prepared(Record):
    """The places of images, views and teachers, from this machine's preparing process to its workers."""

    data: Path
    bank: ViewBank
    checkpoints: Path
    device: str
    sharing: int = 1  # workers of this machine that share the device
    threads: int = 1  # of the CPU, for each worker
    maker: int = Field(default_factory=os.getpid)  # the process that goes on making and proving views


class Bench:
    """Study, images, views and record; makes the training and the checkpoint of a run."""

    def __init__(
        self,
        study: Study,
        prepared: Prepared,
        record: StudyRecord,
        stop: Callable[[], bool],
        say: Callable[[str], None] = SILENCE.say,
        *,
        save_every: float = EVERY,
    ) -> None:
        self.record, self.stop = record, stop
        self.say = cache(say)  # the same line once
        self.bank, self.maker = prepared.bank, prepared.maker
        self.device = torch.device(prepared.device)
        self.checkpoints, self.save_every = prepared.checkpoints, save_every
        sets = SearchSets.open(prepared.data)
        hold(self.bank.folder)
        self.fingerprint = sets.fingerprint
        self.classes = len(sets.train.classes)
        self.image_size: int = sets.train.images.shape[-1]
        self.study, _ = fitting(study, self.classes, self.image_size)
        self.mean, self.std = sets.train.mean_std()
        self.trained_seconds = 0.0
        self.live_teachers: dict[str, LiveTeacher] = {}
        self.labels = sets.train.labels.to(self.device)
        self.validation = Labelled(
            placed(sets.validation.images, self.device), sets.validation.labels.to(self.device)
        )

    def normalised(self, student: Student) -> Student:
        return student.model_copy(update={"mean": self.mean, "std": self.std})

    def fitted(self, student: StudentConfig, fraction: float) -> StudentConfig:
        """`student` with the data's normalisation and the width that the budget allows."""
        budget = self.study.budget
        return solve_width(
            self.normalised(student),
            budget.max_params,
            fraction,
            max_macs=budget.max_macs,
            image_size=self.image_size,
        )

    def training(self, config: TrialConfig, run: Run) -> Training:
        """The run's training from its beginning. Data order is the study's, weights are the run's own."""
        seed = self.seed(run)
        with seeded(seed):
            student = in_place(build_student(config.student))
            objective = config.objective(self.bank.shapes(config.teachers))
        size, reads = config.training.batch_size, objective.reads
        batches = ViewBatches(
            self.bank,
            self.labels,
            size,
            self.study.seed,
            teachers=config.teachers,
            reads=reads,
            wait=self._wait_for_view,
            live=self.live_teacher(*config.teachers) if "hints" in reads else None,
        )
        return Training(
            student, objective, config.training, batches, self.validation, seed=seed, stop=self.stop
        )

    def live_teacher(self, name: str) -> "LiveTeacher":
        """The teacher, loaded when a trial first reads its hints, since it imports torchvision."""
        if name not in self.live_teachers:
            compiler_back()
            from kdsearch.teachers.stored import LiveTeacher  # noqa: PLC0415

            shape = self.classes, self.image_size
            bfloat16 = self.bank.teachers[name].bfloat16
            self.live_teachers[name] = LiveTeacher(
                self.record, self.study, name, shape, self.device, bfloat16=bfloat16
            )
        return self.live_teachers[name]

    def checkpoint(self, run: Run, key: str = "") -> Checkpoint:
        """The run's checkpoint; `key` is its trial config's.

        A study that was deleted and created again has another identity, and uses no checkpoint of the old
        one.
        """
        path = self.checkpoints / run.checkpoint
        return Checkpoint(path, f"{self.identity} {key}", self.say, every=self.save_every)

    @cached_property
    def pruner(self) -> Pruner:
        return PRUNERS[self.study.search.pruner](self.record)

    @cached_property
    def identity(self) -> str:
        return self.record.identity()

    def timed(self, training: Training) -> Iterator[EpochResult]:
        """Iterates over the training's epochs, and adds their time to `trained_seconds`."""
        epochs = iter(training)
        while True:
            started = time.perf_counter()
            result = next(epochs, None)
            self.trained_seconds += time.perf_counter() - started
            if result is None:
                return
            yield result

    def seed(self, run: Run) -> int:
        """The seed of initialisation and dropout."""
        return derived_seed(self.study.seed, *run.seed_parts)

    def _wait_for_view(self, number: int) -> None:
        """Waits until the view exists and is checked. Raises the error that ends the run if nobody makes it.

        The preparing process makes and checks views in order, and does not go back to an earlier one.
        """
        left = False
        while True:
            in_making = psutil.pid_exists(self.maker)
            try:
                self.bank.view(number)
                return
            except CacheDamagedError as error:
                if self.stop():
                    raise InterruptedTrainingError(f"stopped while view {number} was being made") from None
                if not (in_making and self.bank.exists(0)):  # which was there when the workers started
                    raise self._unusable(number, error) from None
                if left and self.bank.exists(number):
                    raise self._unusable(number, error) from None
            left = self.bank.is_left(number)  # before the next look: one still in its making may end there
            time.sleep(0.05)

    def _unusable(self, number: int, error: CacheDamagedError) -> KdsearchError:
        if self.bank.exists(number):
            return CacheDamagedError(f"{error}; the same command makes it anew")
        folder = self.bank.folder
        return CacheClearedError(f"{folder}: cleared during the search; the same command makes it anew")
