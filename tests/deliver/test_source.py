"""The text of student.py."""

import ast
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch

from kdsearch.deliver.student_source import run_source, student_source
from kdsearch.errors import ExportError
from kdsearch.models.families import FAMILIES
from kdsearch.models.published import PUBLISHED, PublishedConfig
from kdsearch.models.student import ACTIVATIONS, as_input, build_student

SETTINGS = Path(__file__).parents[2] / "pyproject.toml"
VARIANTS = list(product(sorted(FAMILIES), sorted(ACTIVATIONS), ["stride", "pool"]))


@pytest.fixture(params=VARIANTS, ids="-".join)
def config(request, trained):
    family, activation, downsampling = request.param
    changed = {"family": family, "activation": activation, "downsampling": downsampling, "options": {}}
    return type(trained.config).model_validate(trained.config.model_dump() | changed)


@pytest.mark.parametrize("trained", ["plain"], indirect=True, scope="session")
def test_student_net_without_arguments_is_the_same_network(config):
    module = {"__name__": "student"}
    exec(compile(student_source(config), "student.py", "exec"), module)
    student = build_student(config).eval()
    copy = module["StudentNet"]().eval()
    copy.load_state_dict(student.state_dict())
    images = torch.rand(3, 3, 8, 8)
    assert torch.equal(copy(images), student(images))
    assert str(copy).partition("\n")[2] == str(student).partition("\n")[2]  # layer by layer, but the class


@pytest.fixture(params=[name for name in PUBLISHED if not name.startswith("vgg")])
def published(request):
    return PublishedConfig(network=request.param, classes=5, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))


def test_a_published_network_is_exported_layer_by_layer(published):
    module = {"__name__": "student"}
    exec(compile(student_source(published), "student.py", "exec"), module)
    student, copy = build_student(published).eval(), module["StudentNet"]().eval()
    copy.load_state_dict(student.state_dict())
    images = torch.rand(3, 3, 100, 100)
    assert torch.equal(copy(images), student(images))
    assert str(copy).partition("\n")[2] == str(student).partition("\n")[2]


def test_it_imports_torch_alone(trained):
    tree = ast.parse(student_source(trained.config))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(each) for each in imported] == ["import torch", "from torch import Tensor, nn"]
    assert "load_state_dict(load_file(" in ast.get_docstring(tree)


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_it_reads_like_code_of_ours(trained, command):
    reads_like_ours(student_source(trained.config), command)


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_a_published_network_reads_like_code_of_ours(published, command):
    reads_like_ours(student_source(published), command)


def reads_like_ours(text, command):
    arguments = [*command, "--config", str(SETTINGS), "--stdin-filename", "student.py", "-"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import kdsearch\n", "student.py imports kdsearch"),
        ("StudentNet = None\n", "TypeError"),
    ],
)
@pytest.mark.parametrize("trained", ["plain"], indirect=True, scope="session")
def test_a_source_that_cannot_stand_alone_is_an_error(exported, tmp_path, text, reason):
    for path in exported.paths:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    source = tmp_path / "student.py"
    source.write_text(source.read_text() + text)
    with pytest.raises(ExportError, match=reason):
        run_source(tmp_path, as_input(exported.trained.images))
