"""The study's teachers in the record."""

import torch
from torch import Tensor, nn

from kdsearch.device import autocast
from kdsearch.models.student import as_input
from kdsearch.models.teachers import build_teacher
from kdsearch.models.weights import from_bytes, load_weights
from kdsearch.outputs import Outputs
from kdsearch.store.record import StudyRecord
from kdsearch.study.file import Study


def weights_file(name: str) -> str:
    """The record's file of the weights of the teacher called so."""
    return f"{name}.safetensors"


def fill_teacher(record: StudyRecord, name: str, teacher: nn.Module, device: torch.device) -> bytes:
    """Gives `teacher` the weights stored for `name` and freezes it, on `device`; returns them."""
    weights = record.file(weights_file(name))
    assert weights is not None, "a study's teachers are stored before anything asks for them"
    load_weights(teacher, from_bytes(weights), weights_file(name))
    teacher.to(device).eval().requires_grad_(requires_grad=False)
    return weights


class LiveTeacher:
    """One teacher with its hints, for losses that read what the view bank does not store.

    `shape` is the number of classes and the side of the images.
    """

    def __init__(
        self,
        record: StudyRecord,
        study: Study,
        name: str,
        shape: tuple[int, int],
        device: torch.device,
        *,
        bfloat16: bool = False,
    ) -> None:
        self.bfloat16 = bfloat16
        config, normalised = study.teachers[name], ((0.0,) * 3, (1.0,) * 3)
        self.teacher = build_teacher(config.model, *shape, *normalised, head=config.head)
        fill_teacher(record, name, self.teacher, device)  # its normalisation too
        self.teacher.to(memory_format=torch.channels_last)
        self.teacher.watch_hints()

    def __call__(self, images: Tensor) -> Outputs:
        """The outputs for uint8 images B x C x H x W, without gradients."""
        with autocast(images.device, bfloat16=self.bfloat16):
            return self.teacher.answer(as_input(images))
