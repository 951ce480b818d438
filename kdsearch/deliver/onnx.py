"""The student as one `.onnx` file."""

from pathlib import Path

import onnx
import torch
from torch import Tensor

from kdsearch.deliver.onnx_runtime import open_onnx
from kdsearch.models.student import Network

OPSET = 18  # the one torch's exporter is written for; others are converted from it


def export_onnx(student: Network, image_size: int, path: Path) -> None:
    """Writes a student in eval mode as one file, weights inside.

    Input `images`, float32 batch x 3 x image_size x image_size in 0..1; output `logits`, batch x classes.
    """
    assert not student.training, "batch statistics would be baked in"
    example = torch.rand(2, 3, image_size, image_size)  # two, since a batch of one would be taken as fixed
    program = torch.onnx.export(
        student,
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,  # it prints its steps otherwise
    )
    assert program is not None, "the dynamo exporter returns the program"
    onnx.save(_anonymous(program.model_proto), path)


def run_onnx(path: Path, images: Tensor) -> Tensor:
    """The logits of an `.onnx` file for float32 N x 3 x H x W in 0..1, on the CPU.

    Raises ExportError if ONNX Runtime cannot load the file or run it.
    """
    return torch.from_numpy(open_onnx(path)(images.contiguous().numpy(force=True)))


def _anonymous(model: onnx.ModelProto) -> onnx.ModelProto:
    """Removes the exporter's notes, which name the source files of the machine that ran it."""
    graph = model.graph
    parts = (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info)
    for part in parts:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model
