"""Distillation from softened class probabilities."""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from kdsearch.config import Range, Record
from kdsearch.distill.loss import Loss
from kdsearch.outputs import Outputs, Shapes


class KL(Loss):
    """Softened class probabilities: `T^2 KL(p_teacher || p_student)`, arXiv 1503.02531 (2015), section 2.

    Summed over the C classes and averaged over the B images; the factor T^2 keeps the gradient's size
    when the temperature changes. At least 0, and 0 where the two logits differ by a constant.
    """

    reads: ClassVar = frozenset({"logits"})  # what the view bank must store

    class Config(Record):
        """What is searched in this loss."""

        temperature: Annotated[float, Field(gt=0), Range(1, 20, log=True)] = 4.0

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__()
        self.temperature = config.temperature

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> dict[str, Tensor]:
        """The part `kl`."""
        p_student = log_softmax(student.logits.float() / self.temperature, dim=1)
        p_teacher = log_softmax(teacher.logits.float() / self.temperature, dim=1)
        divergence = kl_div(p_student, p_teacher, reduction="batchmean", log_target=True)
        return {"kl": self.temperature**2 * divergence}
