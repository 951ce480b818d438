"""The config of one trial: a draw from the study's spaces."""

from typing import Any, Literal

from pydantic import Field

from kdsearch.cache import digest
from kdsearch.config import Record
from kdsearch.distill import LOSSES
from kdsearch.distill.objective import Objective
from kdsearch.engine.training import Training
from kdsearch.models.student import NetworkConfig, student_shapes
from kdsearch.outputs import Shapes
from kdsearch.study.distillation import NONE
from kdsearch.study.teachers import ONLY, members


class TrialConfig(Record):
    """Student, losses and training settings of a trial: JSON-able, and complete except for seed and data."""

    student: NetworkConfig
    loss: str = NONE
    losses: dict[str, dict[str, Any]] = Field(default_factory=dict)  # the settings of each in `loss`
    alpha: float = 0.0
    alpha_schedule: Literal["constant", "falling"] = "constant"
    teacher: str = ONLY  # a name, or a sum of names; means nothing without losses
    training: Training.Config

    @property
    def key(self) -> str:
        """A hash that is equal for two trials exactly if their trainings are."""
        return digest(self.model_dump(mode="json"))

    @property
    def teachers(self) -> tuple[str, ...]:
        return members(self.teacher) if self.losses else ()

    def objective(self, teacher: Shapes) -> Objective:
        student = student_shapes(self.student)
        losses = []
        for name, settings in self.losses.items():
            made = LOSSES[name]
            losses.append(made(made.Config(**settings), student, teacher))
        smoothing, falling = self.training.label_smoothing, self.alpha_schedule == "falling"
        return Objective(losses, self.alpha, smoothing, falling=falling)
