"""An export whose answers are known: its network says which colour the left half of an image has."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

CLASSES = ("red", "green", "blue")
CONFIG = {
    "study": "colours",
    "trial": 3,
    "classes": CLASSES,
    "parameters": 0,
    "macs": 0,
    "input": {"size": 8, "resize": "shorter side, bilinear, antialias", "crop": "centre"},
    "student": {},
}


def network(classes=3):
    """The channels' means over the left half, ten times, as logits; the first `classes` of them."""
    numbers = {"start": [0, 0], "end": [classes, 4], "axes": [1, 3], "over": [2, 3], "ten": 10.0}
    nodes = [
        helper.make_node("Slice", ["images", "start", "end", "axes"], ["left"]),
        helper.make_node("ReduceMean", ["left", "over"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "ten"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [
            numpy_helper.from_array(np.array(value, np.float32 if name == "ten" else np.int64), name)
            for name, value in numbers.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture
def colours(tmp_path):
    """The folder of the export."""
    folder = tmp_path / "colours"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    onnx.save(network(), folder / "student.onnx")
    return folder


@pytest.fixture
def paint(tmp_path):
    """Writes an image, whose halves have these colours, to a path in the folder `images`."""

    def draw(name, left, right=None):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[:, :4], pixels[:, 4:] = left, left if right is None else right
        Image.fromarray(pixels).save(path)
        return path

    return draw
