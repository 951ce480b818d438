"""Distillation of similarities."""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

from kdsearch.config import Range, Record
from kdsearch.distill.loss import Loss, StudentLayer, TeacherLayer, layer_named
from kdsearch.outputs import Outputs, Shapes


class SP(Loss):
    """`weight / B^2 * ||G_student - G_teacher||^2`, arXiv 1907.09682 (2019), equations 1 to 4.

    G is the B x B matrix of the inner products of the images' flattened feature maps, each row scaled to
    length 1. Channels and pixels of the two networks may differ. Raises ValueError if one has no layer
    of that name.
    """

    reads: ClassVar = frozenset({"hints"})

    class Config(Record):
        student_layer: StudentLayer = "last"
        teacher_layer: TeacherLayer = "last"
        weight: Annotated[float, Field(gt=0), Range(3, 3000, log=True)] = 300.0

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        self.ours = layer_named(student.hints, config.student_layer)
        self.theirs = layer_named(teacher.hints, config.teacher_layer)

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> dict[str, Tensor]:
        ours, theirs = map(_similarity, (student.hints[self.ours], teacher.hints[self.theirs]))
        return {"sp": self.config.weight * mse_loss(ours, theirs)}


def _similarity(hint: Tensor) -> Tensor:
    rows = hint.float().flatten(1)
    return normalize(rows @ rows.T, dim=1)
