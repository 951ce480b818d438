"""Distillation of attention."""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

from kdsearch.config import Range, Record
from kdsearch.distill.loss import Loss, StudentLayer, TeacherLayer, layer_named, same_size
from kdsearch.outputs import Outputs, Shapes


class AT(Loss):
    """`weight * MSE` of two attention maps, arXiv 1612.03928 (2017), section 3.1.

    An attention map is a feature map's mean of squares over its channels, flattened and scaled to length 1;
    the mean runs over images and pixels. The larger map is averaged down to the smaller's pixels. Raises
    ValueError if a network has no layer of that name.
    """

    reads: ClassVar = frozenset({"hints"})

    class Config(Record):
        student_layer: StudentLayer = "middle"
        teacher_layer: TeacherLayer = "middle"
        weight: Annotated[float, Field(gt=0), Range(10, 10_000, log=True)] = 1000.0

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        self.ours = layer_named(student.hints, config.student_layer)
        self.theirs = layer_named(teacher.hints, config.teacher_layer)

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> dict[str, Tensor]:
        maps = same_size(student.hints[self.ours], teacher.hints[self.theirs])
        ours, theirs = (normalize(hint.square().mean(1).flatten(1), dim=1) for hint in maps)
        return {"at": self.config.weight * mse_loss(ours, theirs)}
