"""All forms at once: equal to the student, or an error and nothing lost."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

from kdsearch.deliver.card import model_card
from kdsearch.deliver.export import UNFINISHED, check_folder, export_student
from kdsearch.deliver.forms import FILES, FORMS, ExportConfig, check_export, describe
from kdsearch.deliver.onnx import run_onnx
from kdsearch.deliver.onnx_runtime import INT8
from kdsearch.deliver.program import run_program
from kdsearch.deliver.student_source import run_source
from kdsearch.errors import ExportError, UsageError
from kdsearch.models.student import as_input, build_student
from tests.servers import wait_until

FLOAT = ("source", "onnx", "pt2")  # as in conftest.py
FLOATS = [name for name in FILES if name != INT8]


@pytest.fixture
def copied(exported, tmp_path):
    """A copy of the export, to tamper with."""
    shutil.copytree(exported.folder, tmp_path / "copy")
    return tmp_path / "copy"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_form_answers_as_the_student_does(exported):
    assert exported.paths == [exported.folder / name for name in FLOATS]
    assert sorted(contents(exported.folder)) == sorted(FLOATS)
    images = as_input(exported.trained.images)
    restored = ExportConfig.model_validate_json((exported.folder / "config.json").read_text())
    student = build_student(restored.student)
    student.load_state_dict(load_file(exported.folder / "student.safetensors"))
    with torch.inference_mode():
        expected = exported.trained.student(images)
        assert torch.equal(student.eval()(images), expected)
    answers = (
        run_source(exported.folder, images),
        run_onnx(exported.folder / "student.onnx", images),
        run_program(exported.folder / "student.pt2", images),
    )
    for answer in answers:
        torch.testing.assert_close(answer, expected, rtol=1e-5, atol=1e-5)


def test_the_config_says_what_an_image_must_become(exported):
    described = ExportConfig.model_validate_json((exported.folder / "config.json").read_text())
    assert described.student == exported.trained.config
    assert described.classes == exported.trained.facts.data.classes
    assert described.parameters == sum(each.numel() for each in exported.trained.student.parameters())
    assert (described.input.size, described.input.range, described.input.channels) == (8, (0, 1), 3)


@pytest.mark.parametrize(
    ("fit", "resize", "crop", "said"),
    [
        ("crop", "shorter side, bilinear, antialias", "centre", "the shorter side resized to 8 pixels"),
        ("whole", "both sides, bilinear, antialias", "none", "the whole image resized to 8 pixels"),
    ],
)
def test_config_and_card_say_how_an_image_becomes_a_square(exported, fit, resize, crop, said):
    facts = exported.trained.facts.model_copy(update={"fit": fit})
    described = describe(exported.trained.config, facts).input
    assert (described.resize, described.crop) == (resize, crop)
    assert said in model_card(facts, FORMS)


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


@pytest.mark.parametrize("name", ["student.safetensors", "config.json", "student.onnx", "student.pt2"])
def test_a_file_that_was_cut_off_is_an_error_of_one_line(exported, copied, name):
    path = copied / name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ExportError, match=name) as caught:
        check_export(copied, exported.trained.student, exported.trained.images)
    assert "\n" not in str(caught.value)


def test_a_student_of_nan_leaves_nothing_behind(trained, tmp_path):
    state = trained.student.state_dict() | {"head.bias": torch.full((10,), float("nan"))}
    with pytest.raises(ExportError, match="differs from the trained student by nan"):
        export_student(trained.config, state, trained.facts, trained.samples, tmp_path / "here" / "best")
    assert list((tmp_path / "here").iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(trained, tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        export_student(trained.config, trained.student.state_dict(), trained.facts, trained.samples, folder)
    assert contents(folder) == {"notes.txt": b"mine"}


def test_a_file_in_place_of_the_folder_is_an_error(trained, tmp_path):
    (tmp_path / "best").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        export_student(
            trained.config, trained.student.state_dict(), trained.facts, trained.samples, tmp_path / "best"
        )


def test_force_replaces_an_export_and_nothing_else(exported, copied):
    (copied / "notes.txt").write_text("mine")
    (copied / "student.py").write_text("old")
    config, student, facts, samples = exported.trained
    export_student(config, student.state_dict(), facts, samples, copied, forms=FLOAT, force=True)
    made, before = contents(copied), contents(exported.folder)
    for parts in (made, before):  # what differs from one export to the next
        parts["README.md"] = re.sub(rb"(?s)## Speed.*?## Input", b"", parts["README.md"])
        del parts["student.pt2"]  # its archive has a serial number
    assert made == before | {"notes.txt": b"mine"}


def test_a_program_names_no_file_of_the_machine_that_made_it(exported):
    with zipfile.ZipFile(exported.folder / "student.pt2") as archive:
        content = b"".join(archive.read(each) for each in archive.infolist())
    assert not re.search(rb"/[\w./-]*kdsearch[\w./-]*\.py", content)
    assert str(Path.home()).encode() not in content


@pytest.mark.parametrize("config", [None, "{}", "[tool]", "not JSON"])
def test_force_never_replaces_a_file_that_is_of_no_export(exported, tmp_path, config):
    (tmp_path / "README.md").write_text("mine")
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    trained, student, facts, samples = exported.trained
    for out in (tmp_path, tmp_path / "nothere" / ".."):
        with pytest.raises(UsageError, match=r"README\.md|config\.json, which is of no export") as error:
            export_student(trained, student.state_dict(), facts, samples, out, force=True)
        assert "\n" not in str(error.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_folder_that_cannot_be_written_to_is_said_before_anything_is_read(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="let --out name another folder"):
        check_folder(tmp_path / "file" / "best", force=False)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


EXPORT = """
import resource
import sys
import torch
from pathlib import Path
from kdsearch.deliver.card import CardFacts
from kdsearch.deliver.export import export_student
from kdsearch.deliver.forms import ExportConfig
from kdsearch.deliver.int8 import Samples
from kdsearch.engine.training import Labelled
from kdsearch.errors import KdsearchError
from safetensors.torch import load_file

source, facts, out = Path(sys.argv[1]), CardFacts.model_validate_json(sys.argv[2]), Path(sys.argv[3])
config = ExportConfig.model_validate_json((source / "config.json").read_bytes()).student
images = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
samples = Samples(images, Labelled(images, torch.arange(4)))
print("ready", flush=True)
sys.stdin.read()
if sys.argv[-1].isdecimal():  # how far a file may grow: more raises OSError, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[-1]), resource.RLIM_INFINITY))
try:
    state = load_file(source / "student.safetensors")
    forms = ("source", "onnx", "pt2")
    export_student(config, state, facts, samples, out, forms=forms, force="--force" in sys.argv)
except KdsearchError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def start(exported):
    """Starts a process that exports to a folder once its standard input is closed."""
    started = []

    def make(out, *options):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        facts = exported.trained.facts.model_dump_json()
        command = [sys.executable, "-c", EXPORT, str(exported.folder), facts, str(out), *options]
        started.append(subprocess.Popen(command, text=True, **pipes))
        assert started[-1].stdout.readline() == "ready\n"
        return started[-1]

    yield make
    for process in started:
        process.kill()
        with process:  # closes its pipes
            pass


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["plain"], indirect=True, scope="session")
def test_of_two_exports_into_one_folder_at_once_the_second_is_refused(start, tmp_path):
    racing = [start(tmp_path / "here" / "best") for _ in range(2)]
    for process in racing:
        process.stdin.close()
    told = [process.stderr.read() for process in racing]
    assert sorted(process.wait() for process in racing) == [0, 1], told
    assert "is not empty; --force replaces" in "".join(told)
    assert sorted(contents(tmp_path / "here" / "best")) == sorted(FLOATS)
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["best"]


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["plain"], indirect=True, scope="session")
def test_an_export_that_died_is_made_again_and_leaves_nothing(exported, start, copied):
    process = start(copied, "--force")
    process.stdin.close()
    wait_until(lambda: list(copied.glob(f"{UNFINISHED}*")), "the export")
    process.kill()
    process.wait()
    (unfinished,) = copied.glob(f"{UNFINISHED}*")
    (copied / "config.json").replace(unfinished / "config.json")  # as if it had died in the middle of moving
    assert start(copied, "--force").communicate()[1] == ""
    assert sorted(path.name for path in copied.iterdir()) == sorted(FLOATS)


@pytest.mark.slow
@pytest.mark.parametrize("full", ["student.safetensors", "student.onnx"])
@pytest.mark.parametrize("trained", ["plain"], indirect=True, scope="session")
def test_a_full_disk_is_one_line_and_leaves_an_old_export_as_it_was(start, copied, full):
    before = contents(copied)
    process = start(copied, "--force", str(len(before[full]) - 1))
    _, told = process.communicate()
    assert process.returncode == 1
    assert re.fullmatch(r"/.*: cannot be written \(File too large\); free some disk, .*\n", told)
    assert contents(copied) == before
