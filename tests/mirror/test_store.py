"""MLflow's SQLite store under kills, second openers, and what earlier versions left."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from time import monotonic

import pytest
from alembic import command
from mlflow.store.db import utils as database
from sqlalchemy import StaticPool, create_engine

from kdsearch.mirror.store import open_client
from kdsearch.mirror.uri import MirrorUnavailableError, reaching
from tests.servers import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:sqlalchemy.exc.SADeprecationWarning")
OLDER = "cbc13b556ace"  # a revision of MLflow's tables from before 2025

OPEN = """
import sys
from kdsearch.mirror.store import open_client
print("ready", flush=True)
sys.stdin.read()
open_client(sys.argv[1])
"""
PLAIN = """
import sys
import kdsearch.mirror
from mlflow import MlflowClient
print("ready", flush=True)
sys.stdin.read()
MlflowClient(sys.argv[1])
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def start(uri):
    """Starts a process that opens the store once its standard input is closed; its imports are done then."""
    started = []

    def make(code=OPEN):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        started.append(subprocess.Popen([sys.executable, "-c", code, uri], text=True, **pipes))
        assert started[-1].stdout.readline() == "ready\n"
        return started[-1]

    yield make
    for process in started:
        process.kill()
        with process:  # closes its pipes
            pass


@pytest.fixture
def store(tmp_path):
    return tmp_path / "mlflow.db"


@pytest.fixture
def uri(store):
    """Absolute, since MLflow keeps a store that is open by its URI."""
    return f"sqlite:///{store}"


def size(path):
    return path.stat().st_size if path.exists() else 0


def older(path):
    """A store with the tables of an older MLflow, and an experiment."""
    with closing(sqlite3.connect("", check_same_thread=False)) as memory:
        engine = create_engine("sqlite://", creator=lambda: memory, poolclass=StaticPool)
        database.InitialBase.metadata.create_all(engine)
        config = database._get_alembic_config("sqlite://")
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, OLDER)
        memory.execute("INSERT INTO experiments (name, lifecycle_stage) VALUES ('mine', 'active')")
        memory.commit()
        with closing(sqlite3.connect(path)) as file:
            memory.backup(file)


def names(uri):
    return {experiment.name for experiment in open_client(uri).search_experiments()}


def test_two_first_openers_at_once_both_have_a_whole_store(start, uri):
    racing = [start(), start()]
    for process in racing:
        process.stdin.close()
    for process in racing:
        assert process.wait() == 0, process.stderr.read()
    assert names(uri) == {"Default"}


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["lock", 1, 300_000, 600_000])
def test_a_first_opener_that_is_killed_breaks_nothing(start, store, uri, moment):
    """While it makes the store, or once the file has so many bytes."""
    lock = store.with_name(".mlflow.db.lock")
    process = start()
    process.stdin.close()
    wait_until(lambda: lock.exists() if moment == "lock" else size(store) >= moment, "a store in the making")
    process.kill()
    process.wait()
    assert names(uri) == {"Default"}


@pytest.mark.slow
def test_a_store_that_mlflow_itself_left_half_made_is_made_anew(start, store, uri):
    """As kdsearch 0.1.0 left it, too: there is nothing in it."""
    process = start(PLAIN)
    process.stdin.close()
    wait_until(lambda: size(store) >= 300_000, "half a store")
    process.kill()
    process.wait()
    assert names(uri) == {"Default"}


@pytest.mark.slow
def test_an_mlflow_that_is_making_the_store_is_left_to_it(start, store, uri):
    """`mlflow ui` takes no lock of ours."""
    process = start(PLAIN)
    process.stdin.close()
    wait_until(lambda: size(store) >= 100_000, "a store in the making")
    assert names(uri) == {"Default"}
    assert process.wait() == 0, process.stderr.read()


@pytest.mark.slow
def test_a_store_of_an_older_mlflow_keeps_what_is_in_it_through_a_kill(start, store, uri):
    older(store)
    process = start()
    process.stdin.close()
    wait_until(store.with_name(".mlflow.db.lock").exists, "the migration")
    process.kill()
    process.wait()
    assert names(uri) == {"Default", "mine"}


def test_a_store_with_content_that_cannot_be_migrated_is_named_with_a_cure(store, uri):
    older(store)
    with closing(sqlite3.connect(store)) as file:
        file.execute("CREATE TABLE spans (half INTEGER)")  # of a later revision, as after a kill
    before = store.read_bytes()
    with pytest.raises(MirrorUnavailableError) as error:
        open_client(uri)
    assert str(error.value).startswith(f"MLflow's store {store} lacks tables and cannot get them (")
    assert "move the file away" in str(error.value)
    assert "\n" not in str(error.value)
    assert store.read_bytes() == before


def test_a_database_that_refuses_is_said_soon():
    """MLflow itself tries for 100 seconds."""
    uri = "postgresql+psycopg://me:secret@127.0.0.1:1/x"
    began = monotonic()
    with pytest.raises(MirrorUnavailableError, match=r"^MLflow at postgresql") as error, reaching(uri):
        open_client(uri)
    assert monotonic() - began < 60
    assert "secret" not in str(error.value)
