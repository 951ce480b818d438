"""The student as a program of `torch.export`, one `.pt2` file."""

from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from kdsearch.errors import ExportError
from kdsearch.models.student import Network

PROGRAM = "student.pt2"


def export_program(student: Network, image_size: int, path: Path) -> None:
    """Writes a student in eval mode, weights inside; it needs no class of kdsearch to run.

    Takes float32 batch x 3 x image_size x image_size in 0..1, gives logits, batch x classes.
    """
    assert not student.training, "batch statistics would be baked in"
    example = torch.rand(2, 3, image_size, image_size)  # two, since a batch of one would be taken as fixed
    program = torch.export.export(student, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names the source files of this machine
    content = BytesIO()  # a full disk would abort torch's own writer, and with it the process
    torch.export.save(program, content)
    path.write_bytes(content.getvalue())


def run_program(path: Path, images: Tensor) -> Tensor:
    """The logits of a `.pt2` file that kdsearch wrote, for float32 N x 3 x H x W in 0..1.

    Raises ExportError if torch cannot load the file.
    """
    try:
        program = torch.export.load(path)
    except (OSError, RuntimeError, ValueError) as error:
        raise ExportError(f"{path.name} does not load: {' '.join(str(error).split())}") from error
    with torch.inference_mode():
        logits: Tensor = program.module()(images)
        return logits
