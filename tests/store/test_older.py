"""A study that version 0.1.0 wrote: it opens, its epochs are named anew, and it goes on."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from kdsearch.cli import main
from kdsearch.errors import StorageError
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import SEARCH, TEACHER, Run
from kdsearch.store.studies import find
from kdsearch.store.trials import Trials

DUMP = Path(__file__).with_name("study-0.1.0.sql")


@pytest.fixture
def url(tmp_path):
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        connection.executescript(DUMP.read_text(encoding="utf-8"))
    return f"sqlite:///{tmp_path / 'old.db'}"


def test_its_epochs_are_those_of_runs(url):
    record = StudyRecord(url, "old")
    found = record.all_epochs()
    assert {run: [each.epoch for each in results] for run, results in found.items()} == {
        Run(SEARCH, 0, 0): [0, 1],
        Run(SEARCH, 1, 0): [0, 1],
        Run(TEACHER, 1, 0): [0, 1],  # two rows that were added to the dump
    }
    assert found[Run(TEACHER, 1, 0)] == found[Run(SEARCH, 0, 0)]
    best = Trials.of(find("old", url).study).best
    assert found[best.run][-1].val_accuracy == best.accuracy
    assert StudyRecord(url, "old").all_epochs() == found


def test_tables_of_a_newer_version_are_refused(url):
    StudyRecord(url, "old").engine.dispose()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.execute("UPDATE kdsearch_alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StorageError, match=r"old\.db: a newer kdsearch wrote it; install that version$"):
        StudyRecord(url, "old")


@pytest.fixture
def hyperband(url):
    """The database, its study as it was created with a pruner that there is no more."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        query = "UPDATE study_user_attributes SET value_json = replace(value_json, 'median', 'hyperband')"
        assert connection.execute(f"{query} WHERE key = 'study'").rowcount == 1
        connection.commit()
    return url


def test_a_study_of_hyperband_opens(hyperband):
    told = CliRunner().invoke(main, ["status", "old", "--json", "--storage", hyperband])
    assert told.exit_code == 0, told.output


@pytest.mark.parametrize("command", [["worker", "old"], ["run", "digits", "--name", "old"]])
def test_a_study_of_hyperband_is_not_searched_any_more(hyperband, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(main, [*command, "--storage", hyperband])
    line = "Error: study old [search]: pruner = 'hyperband': must be 'median' or 'none'\n"
    assert (told.exit_code, told.stderr) == (2, line)


@pytest.mark.parametrize("which", ["url", "hyperband"])
def test_its_best_student_is_exported(request, which, tmp_path, monkeypatch):
    url = request.getfixturevalue(which)
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "cache"))
    told = CliRunner().invoke(main, ["export-best", "old", "--storage", url, "--out", str(tmp_path / "best")])
    assert told.exit_code == 0, told.output
    assert (tmp_path / "best" / "student.onnx").exists()
