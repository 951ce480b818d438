"""All forms at once: equal to the student, or an error and nothing lost."""

import shutil

import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

from kdsearch.deliver.export import ExportConfig, check_export, export_student
from kdsearch.deliver.onnx import run_onnx
from kdsearch.deliver.source import run_source
from kdsearch.errors import ExportError, UsageError
from kdsearch.models.student import as_input, build_student

FORMS = ["README.md", "config.json", "student.onnx", "student.py", "student.safetensors"]


@pytest.fixture
def copied(exported, tmp_path):
    """A copy of the export, to tamper with."""
    shutil.copytree(exported.folder, tmp_path / "copy")
    return tmp_path / "copy"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_form_answers_as_the_student_does(exported):
    assert exported.paths == [exported.folder / name for name in FORMS]
    assert sorted(contents(exported.folder)) == FORMS
    images = as_input(exported.trained.images)
    restored = ExportConfig.model_validate_json((exported.folder / "config.json").read_text())
    student = build_student(restored.student)
    student.load_state_dict(load_file(exported.folder / "student.safetensors"))
    with torch.inference_mode():
        expected = exported.trained.student(images)
        assert torch.equal(student.eval()(images), expected)
    for answer in (run_source(exported.folder, images), run_onnx(exported.folder / "student.onnx", images)):
        torch.testing.assert_close(answer, expected, rtol=1e-5, atol=1e-5)


def test_the_config_says_what_an_image_must_become(exported):
    described = ExportConfig.model_validate_json((exported.folder / "config.json").read_text())
    assert described.student == exported.trained.config
    assert described.classes == exported.trained.facts.classes
    assert described.parameters == sum(each.numel() for each in exported.trained.student.parameters())
    assert (described.input.size, described.input.range, described.input.channels) == (8, (0, 1), 3)


@pytest.mark.parametrize("name", ["head.bias", "stem.1.running_mean", "mean"])
def test_a_changed_weight_is_an_error(exported, copied, name):
    weights = load_file(copied / "student.safetensors")
    weights[name] += 0.01
    save_file(weights, copied / "student.safetensors")
    with pytest.raises(ExportError, match=r"student\.safetensors, loaded back, differs"):
        check_export(copied, exported.trained.student, exported.trained.images)


def test_a_changed_onnx_weight_is_an_error(exported, copied):
    model = onnx.load(copied / "student.onnx")
    bias = next(each for each in model.graph.initializer if each.name == "head.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 0.01, bias.name))
    onnx.save(model, copied / "student.onnx")
    with pytest.raises(ExportError, match=r"student\.onnx, loaded back, differs"):
        check_export(copied, exported.trained.student, exported.trained.images)


def test_a_changed_source_is_an_error(exported, copied):
    source = copied / "student.py"
    source.write_text(source.read_text().replace("nn.Hardswish", "nn.SiLU"))
    with pytest.raises(ExportError, match=r"student\.py with student\.safetensors, loaded back, differs"):
        check_export(copied, exported.trained.student, exported.trained.images)


@pytest.mark.parametrize("name", ["student.safetensors", "config.json", "student.onnx"])
def test_a_file_that_was_cut_off_is_an_error_of_one_line(exported, copied, name):
    path = copied / name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ExportError, match=name) as caught:
        check_export(copied, exported.trained.student, exported.trained.images)
    assert "\n" not in str(caught.value)


def test_a_student_of_nan_leaves_nothing_behind(trained, tmp_path):
    state = trained.student.state_dict() | {"head.bias": torch.full((10,), float("nan"))}
    with pytest.raises(ExportError, match="differs from the trained student by nan"):
        export_student(trained.config, state, trained.facts, trained.images, tmp_path / "best")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(trained, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        export_student(trained.config, trained.student.state_dict(), trained.facts, trained.images, tmp_path)
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_a_file_in_place_of_the_folder_is_an_error(trained, tmp_path):
    (tmp_path / "best").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        export_student(
            trained.config, trained.student.state_dict(), trained.facts, trained.images, tmp_path / "best"
        )


def test_force_replaces_an_export_and_nothing_else(exported, copied):
    (copied / "notes.txt").write_text("mine")
    (copied / "student.py").write_text("old")
    config, student, facts, images = exported.trained
    export_student(config, student.state_dict(), facts, images, copied, force=True)
    assert contents(copied) == contents(exported.folder) | {"notes.txt": b"mine"}
