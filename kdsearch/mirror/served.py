"""The best student as MLflow serves it: arrays of images in, class names and probabilities out.

MLflow keeps a copy of this file as the model's code, beside `student.onnx` and `config.json` of an export. It
runs where neither kdsearch nor torch is installed, so it imports nothing of kdsearch.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from PIL import Image, ImageOps

BATCH = 256  # images that are in memory as floats at once


class ServedStudent(PythonModel):
    """A student behind `mlflow.pyfunc`; its artifacts are `network`, an ONNX file, and `config`, its JSON."""

    def load_context(self, context: PythonModelContext) -> None:
        """Opens the network on the CPU."""
        config = json.loads(Path(context.artifacts["config"]).read_text(encoding="utf-8"))
        self.classes: list[str] = config["classes"]
        self.size: int = config["input"]["size"]
        self.cropped: bool = config["input"]["crop"] == "centre"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        self.session = onnxruntime.InferenceSession(
            context.artifacts["network"], options, providers=["CPUExecutionProvider"]
        )

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """A row an image: `class`, its `probability`, and `p(NAME)` of each class, which sum to 1.

        `model_input` is what `pixels_of` takes, of any height and width; nested lists will do. Raises
        MlflowException.
        """
        pixels = pixels_of(model_input)
        logits = [self._logits(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]
        shares = softmax(np.concatenate([np.empty((0, len(self.classes)), np.float32), *logits]))
        table = pd.DataFrame(shares, columns=[f"p({name})" for name in self.classes])
        table.insert(0, "class", [self.classes[best] for best in shares.argmax(1)])
        table.insert(1, "probability", shares.max(1))
        return table

    def _logits(self, pixels: np.ndarray) -> np.ndarray:
        images = np.stack([fitted(image, self.size, self.cropped) for image in pixels])
        logits: np.ndarray = self.session.run(["logits"], {"images": images.astype(np.float32) / 255})[0]
        return logits


def pixels_of(given: Any) -> np.ndarray:
    """uint8 N x H x W x C, C 3 or 1, of a batch: N x H x W x C or N x C x H x W; three axes are one image.

    The channels are the axis of size 3 or 1, the first if both could be. Whole numbers are 0..255, floats
    0..1, and are rounded to the 256 values that the student was trained on. Raises MlflowException.
    """
    try:
        array = np.asarray(given)
    except ValueError:
        raise refused("images of different sizes: give them one by one") from None
    batch = array[None] if array.ndim == 3 else array
    if batch.ndim != 4 or 0 in batch.shape[1:] or not {1, 3} & {batch.shape[1], batch.shape[3]}:
        raise refused(
            f"the shape {array.shape} is none of N x H x W x C, N x C x H x W, H x W x C and C x H x W "
            "with C 3, or 1 for gray"
        )
    if batch.dtype.kind not in "uif":
        raise refused(f"pixels of type {array.dtype}: give whole numbers in 0..255, or floats in 0..1")
    floats = batch.dtype.kind == "f"
    steps = np.rint(batch * 255.0) if floats else batch
    low, high = batch.min(initial=0), batch.max(initial=0)
    if not (steps.min(initial=0) >= 0 and steps.max(initial=0) <= 255):  # so that NaN is refused too
        wanted = "floats lie in 0..1 (the network normalises inside)" if floats else "whole numbers in 0..255"
        raise refused(f"values from {low:g} to {high:g}; {wanted}")
    channels_first = batch.shape[1] in {1, 3}
    return (steps.transpose(0, 2, 3, 1) if channels_first else steps).astype(np.uint8)


def fitted(pixels: np.ndarray, size: int, cropped: bool) -> np.ndarray:
    """The centre square of a uint8 H x W x C image, or all of it, antialiased: uint8 3 x `size` squared."""
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).convert("RGB")
    resize = ImageOps.fit if cropped else Image.Image.resize
    return np.asarray(resize(image, (size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64 N x C."""
    powers = np.exp(logits.astype(np.float64) - logits.max(1, initial=-np.inf, keepdims=True))
    shares: np.ndarray = powers / powers.sum(1, keepdims=True)
    return shares


def refused(reason: str) -> MlflowException:
    """The error to which a server answers with status 400."""
    return MlflowException(f"images: {reason}", error_code=INVALID_PARAMETER_VALUE)


set_model(ServedStudent())
