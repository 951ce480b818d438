"""What all distillation losses are."""

from typing import ClassVar

from torch import nn

from kdsearch.config import Record


class Loss(nn.Module):
    """The distance between the outputs of student and teacher; `loss(config, student, teacher)` takes Shapes.

    `forward(student: Outputs, teacher: Outputs, labels)` returns named float32 scalars, means over the batch,
    whose sum is the loss. It sees outputs and never networks; its own weights, if any, are learned beside the
    student's and never exported.
    """

    reads: ClassVar[frozenset[str]]  # the fields of the teacher's Outputs that it looks at
    Config: ClassVar[type[Record]]  # in which a StudentLayer or TeacherLayer names a feature map
