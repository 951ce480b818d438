"""Distillation of a hint."""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from kdsearch.config import Range, Record
from kdsearch.distill.loss import Loss, StudentLayer, TeacherLayer, layer_named, same_size
from kdsearch.outputs import Outputs, Shapes


class FitNet(Loss):
    """`weight * MSE(r(F_student), F_teacher)` of two feature maps, arXiv 1412.6550 (2015), equation 3.

    r is a learned 1 x 1 convolution from the student's channels to the teacher's; it is trained with the
    student, not counted and not exported. The larger map is averaged down to the smaller's pixels. Raises
    ValueError if a network has no layer of that name.
    """

    reads: ClassVar = frozenset({"hints"})

    class Config(Record):
        student_layer: StudentLayer = "middle"
        teacher_layer: TeacherLayer = "middle"
        weight: Annotated[float, Field(gt=0), Range(1, 1000, log=True)] = 100.0

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        self.ours = layer_named(student.hints, config.student_layer)
        self.theirs = layer_named(teacher.hints, config.teacher_layer)
        self.regressor = nn.Conv2d(student.hints[self.ours][0], teacher.hints[self.theirs][0], 1)

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> dict[str, Tensor]:
        ours, theirs = same_size(student.hints[self.ours], teacher.hints[self.theirs])
        return {"fitnet": self.config.weight * mse_loss(self.regressor(ours), theirs)}
