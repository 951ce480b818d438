"""`kdsearch front` on a study of invented numbers."""

import json
import re

import pytest
from click.testing import CliRunner

from kdsearch import api
from kdsearch.cli import main
from kdsearch.cli.display_front import show_front
from kdsearch.inspect.front import Front, FrontRow
from tests.invented import invent


@pytest.fixture(scope="module")
def url(tmp_path_factory, quiet_optuna):
    found = f"sqlite:///{tmp_path_factory.mktemp('studies') / 'kdsearch.db'}"
    invent(found, 30, "[bold]x[/bold]")
    return found


@pytest.fixture
def front(url):
    def call(*options):
        return CliRunner().invoke(main, ["front", "--storage", url, *map(str, options)])

    return call


@pytest.fixture
def files(tmp_path):
    """The files of a folder, by name."""
    folder = tmp_path / "files"
    folder.mkdir()
    yield folder
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def refused(done):
    """The one line of a command that does nothing."""
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("by", ["parameters", "macs"])
def test_the_table_has_the_front_and_says_what_an_image_counts(front, url, by):
    done = front("--by", by)
    assert done.exit_code == 0, done.output
    found = api.front(by=by, storage=url)
    rows = [line.replace("│", " ").split() for line in done.stdout.splitlines() if line.startswith("│")]
    assert [row[:3] for row in rows] == [
        [str(row.trial), f"{row.parameters:,}", f"{row.macs:,}"] for row in found.points
    ]
    assert [row[3] == "~" for row in rows] == [row.noise for row in found.points]
    assert any(row.noise for row in found.points)
    assert "The front of study [bold]x[/bold]" in done.stdout
    assert "One of the 288 validation images counts 0.35 points." in done.stdout
    size = {"parameters": "parameters", "macs": "multiply-adds"}[by]
    assert f"{len(found.points)} of {len(found.rows)} complete trials; no other with as many" in done.stdout
    assert f"fewer {size} is more accurate" in done.stdout
    best = found.points[-1]
    assert f"best accuracy alone is {100 * best.low:.1f} to {100 * best.high:.1f} %" in done.stdout
    assert "~ may be noise" in done.stdout


def test_json_is_the_whole_record(front, url):
    done = front("--json", "--by", "macs")
    assert Front(**json.loads(done.stdout)) == api.front(by="macs", storage=url)


def test_files_appear_whole_and_are_named(front, files):
    done = front("--csv", files / "a.csv", "--png", files / "a.png")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in files.iterdir()) == ["a.csv", "a.png"]
    assert done.stdout.splitlines()[-2:] == [f"  {files / 'a.csv'}", f"  {files / 'a.png'}"]
    assert (files / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (files / "a.csv").read_text().startswith("trial,parameters,macs,accuracy,low,high,")


def test_a_file_that_exists_is_replaced_on_request_only(front, files):
    (files / "a.png").write_text("mine")
    line = refused(front("--csv", files / "a.csv", "--png", files / "a.png"))
    assert line.endswith("a.png: exists already; --force replaces it, or name another file")
    assert line.startswith("Error: --png ")
    assert [path.name for path in files.iterdir()] == ["a.png"]
    assert (files / "a.png").read_text() == "mine"
    assert front("--png", files / "a.png", "--force").exit_code == 0
    assert (files / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("option", ["--csv", "--png"])
def test_a_place_that_cannot_be_written_to_is_one_line_before_anything_is_written(front, files, option):
    (files / "file").write_text("mine")
    other = {"--csv": "--png", "--png": "--csv"}[option]
    cases = {
        "gone/a": r"gone: cannot be written to \(No such file or directory\); let {} name a file in another",
        "file/a": r"file: cannot be written to \(Not a directory\); let {} name a file in another",
        ".": "{} .*: is no ordinary file",
    }
    for place, said in cases.items():
        line = refused(front(other, files / "good", option, files / place))
        assert re.search(said.format(option), line), line
    assert [path.name for path in files.iterdir()] == ["file"]


def test_two_files_are_not_one(front, files):
    (files / "link").symlink_to("a")
    line = refused(front("--csv", files / "a", "--png", files / "link"))
    assert line.endswith("a: is the file of --csv too; name another")
    assert [path.name for path in files.iterdir()] == ["link"]


def test_a_study_that_is_not_there_leaves_no_file(front, files):
    assert "no study 'gone' here" in refused(front("gone", "--csv", files / "a.csv"))
    assert list(files.iterdir()) == []


def test_before_the_first_complete_trial_there_is_nothing_to_show(files, sqlite_url, quiet_optuna):
    invent(sqlite_url, 0)
    told = CliRunner().invoke(main, ["front", "--storage", sqlite_url, "--png", str(files / "a.png")])
    assert told.exit_code == 1
    said = "study 'invented' has no finished trial to show yet; 'kdsearch run' trains some"
    assert told.stderr == f"Error: {said}\n"
    assert list(files.iterdir()) == []


HOSTILE = "[red]x[/red] \x1b[31m\u202e\n"


def test_no_text_from_outside_is_markup_or_moves_the_cursor(capsys):
    facts = {"parameters": 1, "macs": 1, "accuracy": 0.5, "low": 0.4, "high": 0.6, "noise": False}
    row = FrontRow(trial=0, family=HOSTILE, loss=HOSTILE, front=True, **facts)
    show_front(Front(study=HOSTILE, by="macs", validation_images=10, rows=(row,)))
    text = capsys.readouterr().out
    assert not {"\x1b", "\u202e"} & set(text)
    words = re.sub(r"[\s│]", "", text)
    assert words.count("[red]x[/red]") >= 1
    assert r"\x1b[31m\u202e\n" in words
    assert "~" not in text
