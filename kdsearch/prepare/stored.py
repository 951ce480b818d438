"""The study's teacher as the record keeps it."""

import torch
from torch import Tensor

from kdsearch.device import autocast
from kdsearch.models.student import as_input
from kdsearch.models.teachers import Teacher, build_teacher
from kdsearch.models.weights import from_bytes, load_weights
from kdsearch.outputs import Outputs
from kdsearch.study.settings import TeacherConfig
from kdsearch.tracking.record import StudyRecord

WEIGHTS = "teacher.safetensors"


def fill_teacher(record: StudyRecord, teacher: Teacher, device: torch.device) -> bytes:
    """Gives `teacher` the stored weights and freezes it, on `device`; returns them."""
    weights = record.file(WEIGHTS)
    assert weights is not None, "a study's teacher is stored before anything asks for it"
    load_weights(teacher, from_bytes(weights), WEIGHTS)
    teacher.to(device).eval().requires_grad_(requires_grad=False)
    return weights


class LiveTeacher:
    """The teacher with its hints, for losses that read what the view bank does not store."""

    def __init__(
        self, record: StudyRecord, config: TeacherConfig, classes: int, image_size: int, device: torch.device
    ) -> None:
        normalised = (0.0,) * 3, (1.0,) * 3
        self.teacher = build_teacher(config.model, classes, image_size, *normalised, head=config.head)
        fill_teacher(record, self.teacher, device)  # its normalisation too
        self.teacher.to(memory_format=torch.channels_last)
        self.teacher.watch_hints()

    def __call__(self, images: Tensor) -> Outputs:
        """The outputs for uint8 images B x C x H x W, without gradients."""
        with autocast(images.device):
            return self.teacher.answer(as_input(images))
