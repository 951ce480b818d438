"""Networks of 8 bits: close to the float ones, smaller, and honest about what they cost."""

import shutil

import numpy as np
import onnx
import pytest

from kdsearch import api
from kdsearch.deliver import int8
from kdsearch.deliver.card import model_card
from kdsearch.deliver.int8 import export_int8
from kdsearch.deliver.onnx_runtime import INT8, ONNX, open_onnx
from kdsearch.errors import ExportError
from kdsearch.models.student import as_input

some = pytest.mark.parametrize("trained", ["plain", "shuffle"], indirect=True, scope="session")
one = pytest.mark.parametrize("trained", ["plain"], indirect=True, scope="session")


@pytest.fixture
def quantised(exported, tmp_path):
    return export_int8(exported.folder / ONNX, exported.trained.samples, tmp_path / INT8)


def accuracy(path, validation):
    logits = open_onnx(path)(as_input(validation.images).contiguous().numpy())
    return (logits.argmax(axis=1) == validation.labels.numpy()).mean()


@some
def test_it_is_close_and_told_in_the_card(exported, quantised, tmp_path):
    validation = exported.trained.samples.validation
    assert quantised.accuracy == accuracy(tmp_path / INT8, validation)
    assert quantised.float_accuracy == accuracy(exported.folder / ONNX, validation)
    assert quantised.accuracy >= quantised.float_accuracy - int8.ALLOWED
    assert quantised.file == (tmp_path / INT8).stat().st_size
    card = model_card(exported.trained.facts, ("int8",), (), quantised)
    assert f"names {100 * quantised.accuracy:.2f} % of 256 validation images right" in card


@some
def test_the_weights_of_convolutions_have_8_bits_and_a_scale_for_each_channel(quantised, tmp_path):
    model = onnx.load(tmp_path / INT8)
    stored = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    made = {node.output[0]: node for node in model.graph.node}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) > 3
    for node in (each for each in convolutions if each.name not in quantised.floats):
        weights, scales, _ = (stored[name] for name in made[node.input[1]].input)
        assert weights.dtype == np.int8
        assert scales.shape == (len(weights),)


@one
def test_the_layer_that_costs_too_much_stays_float(exported, tmp_path, monkeypatch):
    """As if all accuracy were lost unless the last but one layer is float."""
    layers = []

    def invented(model, validation):
        nodes = onnx.load_from_string(model).graph.node
        made = {name for node in nodes for name in node.output}
        network = [node for node in nodes if node.op_type in ("Conv", "Gemm")]
        layers[:] = [node.name for node in network]
        return 0.1 if network[-2].input[1] in made else 0.9  # made: by a node that scales whole numbers

    monkeypatch.setattr(int8, "_accuracy", invented)
    quantised = export_int8(exported.folder / ONNX, exported.trained.samples, tmp_path / INT8)
    assert (quantised.accuracy, quantised.floats) == (0.9, (layers[-2],))
    assert quantised.weights > quantised.float_weights / 4
    assert "These layers stay float: " in model_card(exported.trained.facts, ("int8",), (), quantised)


@one
def test_predict_runs_it(exported, quantised, draw_images, tmp_path):
    (tmp_path / "export").mkdir()
    shutil.copy(exported.folder / "config.json", tmp_path / "export")
    shutil.copy(tmp_path / INT8, tmp_path / "export")
    draw_images(tmp_path / "images", "0.png", "1.png")
    api.predict(tmp_path / "export", tmp_path / "images", tmp_path / "out.csv", runtime="int8")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3


@one
def test_nothing_is_printed(exported, tmp_path, capfd, caplog):
    export_int8(exported.folder / ONNX, exported.trained.samples, tmp_path / INT8)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@one
def test_what_the_library_cannot_do_is_one_line(exported, tmp_path, monkeypatch):
    def fail(*given, **named):
        raise ValueError("no\nsuch operator")

    monkeypatch.setattr(int8, "quantize_static", fail)
    with pytest.raises(ExportError, match="cannot be made \\(no such operator\\); name the other forms"):
        export_int8(exported.folder / ONNX, exported.trained.samples, tmp_path / INT8)


@one
def test_any_number_of_training_images_will_do(exported, tmp_path):
    samples = exported.trained.samples
    few = samples._replace(calibration=samples.calibration[:70])
    assert export_int8(exported.folder / ONNX, few, tmp_path / INT8).accuracy > 0
