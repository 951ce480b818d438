"""The student in whole numbers of 8 bits, by ONNX Runtime's static quantisation.

Weights have a scale for each channel, a layer's outputs one for all; their range is that of training images.
"""

import io
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import onnx
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor

from kdsearch.config import Record
from kdsearch.deliver.onnx_runtime import FAILURES, INT8, open_onnx
from kdsearch.engine.training import Labelled
from kdsearch.errors import ExportError
from kdsearch.models.student import as_input

ALLOWED = 0.005  # accuracy that 8 bits may cost before layers stay float
CALIBRATION = 256  # training images
BATCH = 64
METHODS = {
    "MinMax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
LAYERS = ("Conv", "Gemm", "MatMul")  # those that have weights


class Quantised(Record):
    """What 8 bits cost and save; accuracies on the validation images, 0 to 1; sizes in bytes."""

    accuracy: float
    float_accuracy: float
    images: int
    method: str  # by which ranges were found
    floats: tuple[str, ...]  # layers that stay float, since the others cost too much with them
    weights: int
    float_weights: int
    scales: int  # and zero points
    file: int


class Samples(NamedTuple):
    """Real images of a study, uint8 N x C x H x W; `calibration` of the training split."""

    calibration: Tensor
    validation: Labelled


class Attempt(NamedTuple):
    accuracy: float
    method: str
    floats: tuple[str, ...]
    model: bytes


def export_int8(source: Path, samples: Samples, path: Path) -> Quantised:
    """Writes the network of the `.onnx` file `source`, whose BatchNorms are folded, in 8 bits.

    Of three ways to find ranges it takes the most accurate. If that costs more than ALLOWED, the layers that
    gain most stay float, one after the other, at most half of them. Raises ExportError if the library fails.
    """
    try:
        return _export(source, samples, path)
    except (ValueError, RuntimeError, *FAILURES) as error:
        reason = " ".join(str(error).split())
        raise ExportError(f"{INT8} cannot be made ({reason}); name the other forms with --form") from error


def _export(source: Path, samples: Samples, path: Path) -> Quantised:
    float_accuracy = _accuracy(source.read_bytes(), samples.validation)
    with TemporaryDirectory() as temporary, _silent():
        folded = Path(temporary, "folded.onnx")
        quant_pre_process(source, folded)

        def attempt(method: str, floats: Iterable[str] = ()) -> Attempt:
            model = _quantised(folded, samples.calibration, method, floats)
            return Attempt(_accuracy(model, samples.validation), method, tuple(floats), model)

        best = max(map(attempt, METHODS), key=lambda each: each.accuracy)
        if best.accuracy < float_accuracy - ALLOWED:
            layers = [node.name for node in onnx.load(folded).graph.node if node.op_type in LAYERS]
            alone = {layer: attempt(best.method, [layer]).accuracy for layer in layers}
            costly = sorted(layers, key=lambda layer: -alone[layer])[: len(layers) // 2]
            for count in range(1, len(costly) + 1):
                best = max(best, attempt(best.method, costly[:count]), key=lambda each: each.accuracy)
                if best.accuracy >= float_accuracy - ALLOWED:
                    break
        float_weights, _ = _sizes(folded.read_bytes())
    path.write_bytes(best.model)
    weights, scales = _sizes(best.model)
    return Quantised(
        accuracy=best.accuracy,
        float_accuracy=float_accuracy,
        images=len(samples.validation.labels),
        method=best.method,
        floats=best.floats,
        weights=weights,
        float_weights=float_weights,
        scales=scales,
        file=len(best.model),
    )


class _Images(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    """Batches of one size, without a rest: the library's histograms need that."""

    def __init__(self, images: Tensor) -> None:
        size = min(BATCH, len(images))
        whole = as_input(images[: len(images) // size * size]).contiguous()
        self.batches: Iterator[Tensor] = iter(torch.split(whole, size))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch.numpy()}


def _quantised(source: Path, images: Tensor, method: str, floats: Iterable[str]) -> bytes:
    path = source.with_name("quantised.onnx")
    quantize_static(
        source,
        path,
        _Images(images),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=not torch.cpu._is_vnni_supported(),  # else sums of 16 bits may overflow there
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=METHODS[method],
        nodes_to_exclude=list(floats),
    )
    return path.read_bytes()


def _accuracy(model: bytes, validation: Labelled) -> float:
    answer = open_onnx(model)
    parts = torch.split(as_input(validation.images).contiguous(), BATCH)
    predicted = np.concatenate([answer(part.numpy()).argmax(axis=1) for part in parts])
    return float((predicted == validation.labels.numpy()).mean())


def _sizes(model: bytes) -> tuple[int, int]:
    """Bytes of the weights and biases, and of the scales and zero points."""
    weights = scales = 0
    for each in onnx.load_from_string(model).graph.initializer:
        size = onnx.numpy_helper.to_array(each).nbytes
        if each.name.endswith(("_scale", "_zero_point")):
            scales += size
        else:
            weights += size
    return weights, scales


@contextmanager
def _silent() -> Iterator[None]:
    """The library prints its steps, and logs advice that was followed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
