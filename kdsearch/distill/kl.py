"""Distillation from softened class probabilities."""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from kdsearch.config import Range, Record
from kdsearch.distill.loss import Loss, scaled
from kdsearch.outputs import Outputs


class KL(Loss):
    """Softened class probabilities: `T^2 KL(p_teacher || p_student)`, arXiv 1503.02531 (2015), section 2.

    Summed over the C classes and averaged over the B images; the factor T^2 keeps the gradient's size when
    the temperature changes. At least 0, and 0 if the two logits differ by a constant. `square = false`
    leaves the factor out, as some recipes do; `standardise` is that of arXiv 2403.01427.
    """

    reads: ClassVar = frozenset({"logits"})  # what the view bank must store

    class Config(Record):
        temperature: Annotated[float, Field(gt=0), Range(1, 20, log=True)] = 4.0
        standardise: bool = False
        square: bool = True

    config: Config

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> dict[str, Tensor]:
        temperature, standardise = self.config.temperature, self.config.standardise
        p_student = log_softmax(scaled(student.logits, temperature, standardise), dim=1)
        p_teacher = log_softmax(scaled(teacher.logits, temperature, standardise), dim=1)
        divergence = kl_div(p_student, p_teacher, reduction="batchmean", log_target=True)
        return {"kl": temperature**2 * divergence if self.config.square else divergence}
