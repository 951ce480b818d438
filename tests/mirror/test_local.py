import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kdsearch.errors import UsageError
from kdsearch.mirror.uri import check_store, sqlite_file
from kdsearch.run.preparing import prepare
from kdsearch.run.protocol import Request


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:///mlflow.db", "mlflow.db"),
        ("sqlite:////runs/mlflow.db", "/runs/mlflow.db"),
        ("sqlite+pysqlite:///a b.db?timeout=5", "a b.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("http://host:5000", None),
        ("postgresql+psycopg://host/x", None),
        ("databricks", None),
        ("http://[", None),
    ],
)
def test_which_uri_is_a_file(uri, path):
    assert sqlite_file(uri) == (path and Path(path))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("noise.db").write_bytes(bytes(range(256)) * 8)
    Path("empty.db").touch()
    with closing(sqlite3.connect("other.db")) as file:
        file.execute("CREATE TABLE studies (study_id INTEGER)")


REFUSED = {
    "sqlite:///noise.db": "noise.db: is not an MLflow store (file is not a database); let --tracking-uri ",
    "sqlite:///other.db": "other.db: is a database, but not an MLflow store; let --tracking-uri name",
    "sqlite:///noise.db/mlflow.db": "noise.db: cannot be written to (File exists); let --tracking-uri name",
    "sqlite:///.": ".: cannot be written to (Is a directory); let --tracking-uri name another file",
    "sqlite://": "--tracking-uri sqlite://: names no file, which several processes need; let --tracking-uri",
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("uri", REFUSED)
def test_a_store_that_mlflow_could_not_use_is_one_line(uri):
    with pytest.raises(UsageError) as error:
        check_store(uri)
    assert str(error.value).startswith(REFUSED[uri])
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("uri", ["sqlite:///new/mlflow.db", "sqlite:///empty.db", "http://127.0.0.1:9"])
def test_a_store_that_mlflow_can_make_or_that_may_come_back_is_none(uri):
    check_store(uri)


@pytest.mark.usefixtures("here")
def test_a_run_says_so_before_it_creates_a_study():
    with pytest.raises(UsageError, match=r"^noise\.db: is not an MLflow store"):
        prepare(Request(study="digits", values={"run.tracking_uri": "sqlite:///noise.db"}), None)
    assert not Path("kdsearch.db").exists()


def test_the_study_s_own_database_is_no_store(tmp_path, monkeypatch):
    """Both keep a table of one name, and the mirror would take the study for a store half made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.db").symlink_to("kdsearch.db")
    for uri in ("sqlite:///kdsearch.db", f"sqlite:///{tmp_path / 'kdsearch.db'}", "sqlite:///link.db"):
        with pytest.raises(UsageError, match="is the study's own database; let --tracking-uri name another"):
            check_store(uri, "sqlite:///kdsearch.db")
    check_store("sqlite:///mlflow.db", "sqlite:///kdsearch.db")
    check_store("sqlite:///mlflow.db", "postgresql+psycopg://host/x")
