"""Teachers without a search, by their commands, on real digits."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from kdsearch.cli import main
from kdsearch.errors import UsageError
from kdsearch.models.teachers import build_teacher
from kdsearch.models.weights import from_bytes
from kdsearch.study.file import Study
from kdsearch.teachers.commands import Target

FILE = """
[data]
train_images = 40
[teacher]
model = "mobilenet_v3_small"
epochs = 1
batch_size = 20
"""
TWO = "[teachers.a]\n[teachers.b]\nhead = [16]\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The working directory, with a study of one small teacher, and one of two."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "mine.toml").write_text(FILE, encoding="utf-8")
    (folder / "two.toml").write_text(FILE + TWO, encoding="utf-8")
    return folder


def told(*arguments):
    """What a command that goes well prints."""
    done = CliRunner().invoke(main, ["teacher", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*arguments):
    """The one line of a command that does not."""
    done = CliRunner().invoke(main, ["teacher", *arguments])
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    return line


def network(classes=10, head=()):
    """A torchvision network that has learned nothing, for 8 x 8 pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        shape = classes, 8, (0.5,) * 3, (0.5,) * 3
        return build_teacher("mobilenet_v3_small", *shape, head=head)


def test_a_trained_teacher_is_cached_written_and_scored_again_without_a_study(here):
    trained = told("train", "mine.toml", "-q", "--out", "weights/t.safetensors")
    assert "% on 288 validation images, 1,528,106 parameters (trained)" in trained
    assert str(here / "weights" / "t.safetensors") in trained
    scored = told("evaluate", "mine.toml", "-q")
    assert scored == trained.splitlines()[0].replace("(trained)", "(trained, from the cache)") + "\n"
    read = told("evaluate", "mine.toml", "-q", "--set", "teacher.checkpoint=weights/t.safetensors")
    assert read == trained.splitlines()[0].replace("(trained)", "(t.safetensors)") + "\n"
    assert "mobilenet_v3_small: " in told("list").partition("In the cache")[2]
    assert {path.name for path in here.iterdir()} == {"mine.toml", "two.toml", "weights"}


def test_a_file_is_only_replaced_if_that_is_said():
    told("train", "mine.toml", "-q", "--out", "t.safetensors")
    line = refused("train", "mine.toml", "-q", "--out", "t.safetensors")
    assert line == "Error: t.safetensors: exists already; --force replaces it, --out names another file"
    told("train", "mine.toml", "-q", "--out", "t.safetensors", "--force")
    assert refused("train", "mine.toml", "--out", "t.pt").endswith("the name must end in .safetensors")


def test_of_several_teachers_each_is_trained_and_one_is_named_for_a_file():
    line = refused("train", "two.toml", "-q", "--out", "b.safetensors")
    assert line == "Error: study 'two' has several teachers: a, b; name one with --teacher"
    assert "no such teacher; known: a, b" in refused("train", "two.toml", "-q", "--teacher", "c")
    told("train", "two.toml", "-q", "--teacher", "b", "--out", "b.safetensors")
    assert "the teacher a (mobilenet_v3_small) of two.toml has not" in refused("evaluate", "two.toml", "-q")
    lines = told("train", "two.toml", "-q").splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "teacher a (mobilenet_v3_small)",
        "teacher b (mobilenet_v3_small)",
    ]


def test_one_of_several_folds_is_trained_and_scored_as_a_whole_and_is_no_file():
    folds = "--set", "teacher.folds=2"
    line = refused("train", "mine.toml", "-q", "--out", "t.safetensors", *folds)
    assert line.startswith("Error: --out t.safetensors: the teacher has folds = 2 networks")
    assert "has not been trained yet" in refused("evaluate", "mine.toml", "-q", *folds)
    trained = told("train", "mine.toml", "-q", *folds)
    assert "3,056,212 parameters (trained, the mean of 2 folds' networks)" in trained
    scored = told("evaluate", "mine.toml", "-q", *folds)
    assert scored == trained.replace("(trained, the mean of 2 folds' networks)", "(trained, from the cache)")
    assert "(trained, fold 1 of 2)" in told("list")


def test_a_teacher_that_is_nowhere_is_not_trained_in_passing():
    line = refused("evaluate", "mine.toml", "-q")
    assert line == (
        "Error: the teacher mobilenet_v3_small of mine.toml has not been trained yet; "
        "'kdsearch teacher train mine.toml' does that"
    )


def test_an_imported_file_is_scored_copied_and_named_in_lines_for_the_study_file(here):
    net = network(head=(16,)).net
    torch.save({"state_dict": net.state_dict()}, "given.pt")
    printed = told("import", "given.pt", "mine.toml", "-q", "--set", "teacher.head=[16]")
    assert "% on 288 validation images" in printed
    lines = printed[printed.index("[teacher]") :]
    assert "\nhead = [16]\n" in lines
    assert tomllib.loads(lines)["teacher"] == {
        "model": "mobilenet_v3_small",
        "head": [16],
        "checkpoint": str(here / "given.safetensors"),
    }
    assert Study(tomllib.loads(lines), "mine.toml").teachers["teacher"].head == (16,)
    weights = from_bytes((here / "given.safetensors").read_bytes())
    assert torch.equal(weights["net.features.0.0.weight"], net.features[0][0].weight)
    own = [f"--set=teacher.{each}" for each in ("head=[16]", "checkpoint=given.safetensors")]
    again = told("evaluate", "mine.toml", "-q", *own)
    assert again.split("(")[0] == printed.split("(")[0]


def test_an_import_into_one_of_several_teachers_names_its_table():
    torch.save(network(head=(16,)).net.state_dict(), "given.pt")
    assert "[teachers.b]\nmodel = " in told("import", "given.pt", "two.toml", "-q", "--teacher", "b")
    assert "name one with --teacher" in refused(
        "import", "given.pt", "two.toml", "-q", "--out", "c.safetensors"
    )


def test_a_file_that_is_no_teacher_for_the_study_is_one_line_and_leaves_nothing(here):
    torch.save(network(classes=11).net.state_dict(), "eleven.pt")
    assert "eleven.pt: has 11 classes, the data has 10" in refused("import", "eleven.pt", "mine.toml", "-q")
    (here / "text.pt").write_text("no weights", encoding="utf-8")
    assert "text.pt: holds more than tensors" in refused("import", "text.pt", "mine.toml", "-q")
    assert "gone.pt: no such file" in refused("import", "gone.pt", "mine.toml", "-q")
    assert "resnet18" in refused("import", "eleven.pt", "mine.toml", "-q", "--set", "teacher.model=resnt18")
    assert not list(here.glob("*.safetensors"))


def test_the_list_has_torchvision_s_names_and_sizes():
    printed = told("list")
    assert "resnet18" in printed
    assert "11,689,512" in printed
    assert "No teacher in the cache yet; 'kdsearch teacher train STUDY' trains one." in printed


def test_a_file_that_is_not_there_and_a_place_that_cannot_be_written_are_said_first(here):
    assert (
        refused("import", ".", "mine.toml")
        == "Error: .: cannot be read (Is a directory); name a .safetensors or PyTorch file"
    )
    (here / "file").touch()
    line = refused("train", "mine.toml", "--out", "file/x.safetensors")
    assert line.startswith("Error: file: cannot be written to (File exists); let --out name")


def test_weights_that_are_not_finite_are_refused(here):
    state = network().net.state_dict()
    state["classifier.3.bias"] = torch.full((10,), torch.nan)
    torch.save(state, here / "nan.pt")
    line = refused("import", "nan.pt", "mine.toml")
    assert line.endswith("nan.pt: outputs for the validation images are not finite; give another file")


def test_the_list_passes_over_what_is_no_whole_teacher(here, monkeypatch):
    monkeypatch.setenv("KDSEARCH_CACHE", str(here / "cache"))
    for name, text in ((".unfinished", "{}"), ("damaged", '{"model": ')):
        (here / "cache" / "teachers" / name).mkdir(parents=True)
        (here / "cache" / "teachers" / name / "facts.json").write_text(text)
    assert "No teacher in the cache yet" in told("list")


# As on a full disk: no file may grow beyond 100 bytes, so writing more raises OSError.
FULL = """
import resource, sys
from pathlib import Path
from kdsearch.errors import KdsearchError
from kdsearch.teachers.commands import Target
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    Target(Path("t.safetensors"), True).write(bytes(200))
except KdsearchError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_full_disk_leaves_the_file_that_was_there(here):
    (here / "t.safetensors").write_bytes(b"before")
    done = subprocess.run([sys.executable, "-c", FULL], cwd=here, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("--out t.safetensors: cannot be written (File too large); free some disk")
    assert (here / "t.safetensors").read_bytes() == b"before"
    assert not list(here.glob(".kdsearch-teacher.*"))


def test_a_file_that_appears_during_the_training_is_kept(here):
    target = Target(Path("t.safetensors"), False)
    target.check()
    (here / "t.safetensors").write_bytes(b"of somebody else")
    with pytest.raises(UsageError, match="exists already; --force replaces it"):
        target.write(b"ours")
    assert (here / "t.safetensors").read_bytes() == b"of somebody else"
