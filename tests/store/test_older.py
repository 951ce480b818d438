"""A study that version 0.1.0 wrote: it opens, its epochs are named anew, and it goes on."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from kdsearch import api
from kdsearch.cli import main
from kdsearch.errors import StorageError
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import SEARCH, TEACHER, Run
from kdsearch.store.studies import find
from kdsearch.store.trials import Trials

STUDY = """
name = "old"
[data]
train_images = 200
[budget]
max_params = 1500
[student]
family = ["dwsep"]
stages = 1
[training]
epochs = 2
batch_size = 100
[distillation]
loss = ["ce"]
"""
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


def test_its_best_student_is_exported(url, tmp_path, monkeypatch):
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "cache"))
    told = CliRunner().invoke(main, ["export-best", "old", "--storage", url, "--out", str(tmp_path / "best")])
    assert told.exit_code == 0, told.output
    assert (tmp_path / "best" / "student.onnx").exists()


@pytest.mark.slow
def test_it_goes_on(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"KDSEARCH_{name}", str(tmp_path / name))
    (tmp_path / "old.toml").write_text(STUDY)
    before = Trials.of(find("old", url).study)
    api.run("old.toml", values={"run.trials": 3, "run.storage": url, "run.workers": "1"})
    after = Trials.of(find("old", url).study)
    assert len(after.finished) == 3
    assert [trial.facts for trial in after][:2] == [trial.facts for trial in before]
    assert len(StudyRecord(url, "old").epochs(after[2].run)) == 2
