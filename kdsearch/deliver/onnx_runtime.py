"""An `.onnx` file as a function of arrays. Loads no torch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from kdsearch.errors import ExportError

ONNX, INT8 = "student.onnx", "student-int8.onnx"
NETWORKS = {"onnx": ONNX, "int8": INT8}
FAILURES = (
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NoSuchFile,
    failures.NotImplemented,
    failures.RuntimeException,
)

Answer = Callable[[np.ndarray], np.ndarray]  # logits N x C of float32 N x 3 x H x W in 0..1


def open_onnx(path: Path | bytes, *, threads: int = 0) -> Answer:
    """The network of an `.onnx` file, or of its content, on so many threads of the CPU; 0: all cores.

    Raises ExportError if ONNX Runtime cannot load the file; so does the answer if it cannot run it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only: a good run shows no library's log line

    def answer(images: np.ndarray) -> np.ndarray:
        try:
            (logits,) = session.run(["logits"], {"images": images})
        except FAILURES as error:
            raise _failed(path, error) from error
        found: np.ndarray = logits
        return found

    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except FAILURES as error:
        raise _failed(path, error) from error
    return answer


def _failed(path: Path | bytes, error: Exception) -> ExportError:
    name = path.name if isinstance(path, Path) else ONNX
    return ExportError(f"{name} does not run: {' '.join(str(error).split())}")
