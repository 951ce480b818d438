"""A study that version 0.1.0 wrote: it opens, its epochs are named anew, and it goes on."""

import json
import sqlite3
import tomllib
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import inspect

from kdsearch import api
from kdsearch.cli import main
from kdsearch.database import open_engine
from kdsearch.errors import IdentityError, StorageError
from kdsearch.store.identity import check_settings, stored_study
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import SEARCH, TEACHER, Run
from kdsearch.store.studies import find
from kdsearch.store.trials import Trials
from kdsearch.study.file import Study, load_study
from tests.servers import postgres_server

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


def test_who_only_reads_leaves_its_tables_alone(url):
    assert api.status("old", storage=url).finished == 2
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(kdsearch_epochs)")]
    assert "slot" in columns


def test_on_postgresql_a_migrated_table_is_as_one_that_is_made_anew():
    with postgres_server() as server:
        new, old = server.new_database(), server.new_database()
        StudyRecord(new, "old").engine.dispose()
        engine = open_engine(old)
        with engine.begin() as connection:
            for statement in (OLD_EPOCHS, *OLD_ROWS):
                connection.exec_driver_sql(statement)
        record = StudyRecord(old, "old")
        assert {run: results[0].val_accuracy for run, results in record.all_epochs().items()} == {
            Run(SEARCH, 3, 1): 0.5,
            Run(TEACHER, 2, 0): 0.75,
        }
        assert keys_of(old) == keys_of(new) != []
        for each in (engine, record.engine):
            each.dispose()


OLD_EPOCHS = """CREATE TABLE kdsearch_epochs (study VARCHAR(255) NOT NULL, slot INTEGER NOT NULL,
attempt INTEGER NOT NULL, epoch INTEGER NOT NULL, train_loss DOUBLE PRECISION, parts TEXT NOT NULL,
val_loss DOUBLE PRECISION, val_accuracy DOUBLE PRECISION, learning_rate DOUBLE PRECISION,
images_per_second DOUBLE PRECISION, seconds DOUBLE PRECISION, finished_at DOUBLE PRECISION,
PRIMARY KEY (study, slot, attempt, epoch))"""
OLD_ROWS = (
    "INSERT INTO kdsearch_epochs VALUES ('old', 3, 1, 0, 1, '{}', 1, 0.5, 1, 1, 1, 1)",
    "INSERT INTO kdsearch_epochs VALUES ('old', -1, 2, 0, 1, '{}', 1, 0.75, 1, 1, 1, 1)",
)


def keys_of(url):
    """Name and columns of the key of each of the record's tables, and all their columns."""
    engine = open_engine(url)
    found = []
    for table in ("kdsearch_epochs", "kdsearch_alembic_version"):
        look = inspect(engine)
        columns = sorted(
            (each["name"], str(each["type"]), each["nullable"]) for each in look.get_columns(table)
        )
        key = look.get_pk_constraint(table)
        found.append((table, key["name"], key["constrained_columns"], columns))
    engine.dispose()
    return found


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


def test_its_students_are_still_halved_in_every_stage(url):
    student = stored_study(find("old", url).study).student
    assert [student.possible(key) for key in ("stem_stride", "full_stages", "smallest_map")] == [
        (1,),
        (0,),
        (2,),
    ]


@pytest.mark.parametrize(("key", "value"), [("stem_stride", 2), ("full_stages", 1), ("smallest_map", 4)])
def test_it_does_not_go_on_with_other_halvings(url, key, value):
    study = find("old", url).study
    tables = tomllib.loads(STUDY)
    check_settings(study, Study(tables, "old.toml"))
    tables["student"][key] = value
    with pytest.raises(IdentityError, match=rf"student\.{key} \(\d before, {value} now\)"):
        check_settings(study, Study(tables, "old.toml"))


def test_what_a_shipped_study_gained_since_does_not_keep_an_older_one_from_going_on(url):
    study = find("old", url).study
    digits = load_study("digits", {})
    tables = json.loads(json.dumps(digits.tables))
    for table, keys in {"student": ["full_stages", "stem_stride"], "training": ["decay_norms"]}.items():
        for key in keys:
            del tables[table][key]
    del tables["first"]
    study.set_user_attr("study", tables)
    check_settings(study, digits)
    assert stored_study(study).first == []
    assert stored_study(study).training.possible("decay_norms") == (True,)
    with pytest.raises(IdentityError, match=r"training\.decay_norms \(True before, \[True, False\] now\)"):
        check_settings(study, load_study("digits", {"training.decay_norms": [True, False]}))
