"""The student as one .onnx file."""

import logging
from pathlib import Path

import onnx
import pytest
import torch

from kdsearch.deliver.onnx import export_onnx, run_onnx
from kdsearch.errors import ExportError
from kdsearch.models.student import as_input


@pytest.fixture
def model(exported):
    return exported.folder / "student.onnx"


@pytest.mark.parametrize("count", [1, 2, 64])
def test_a_batch_may_have_any_size(exported, model, count):
    images = as_input(exported.trained.images[:count])
    with torch.inference_mode():
        expected = exported.trained.student(images)
    torch.testing.assert_close(run_onnx(model, images), expected, rtol=1e-5, atol=1e-5)


def test_it_is_one_valid_file_that_names_no_path_of_this_machine(model):
    onnx.checker.check_model(model, full_check=True)
    assert [path.name for path in model.parent.iterdir() if "onnx" in path.name] == ["student.onnx"]
    content = model.read_bytes()
    assert str(Path(torch.__file__).parent).encode() not in content
    assert b"/kdsearch/" not in content
    assert b".py" not in content


def test_exporting_prints_and_logs_nothing(trained, tmp_path, capfd, caplog):
    with caplog.at_level(logging.WARNING):
        export_onnx(trained.student, 8, tmp_path / "student.onnx")
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.parametrize("content", [b"", b"no protobuf"])
def test_a_broken_file_is_an_error_of_one_line(tmp_path, content):
    path = tmp_path / "student.onnx"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"student\.onnx does not run: .*") as caught:
        run_onnx(path, torch.rand(1, 3, 8, 8))
    assert "\n" not in str(caught.value)
