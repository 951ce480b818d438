"""Real errors of real databases: which pass with time, and what is said of the others."""

from time import monotonic

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from kdsearch.database import open_engine, reporting
from kdsearch.errors import OutageError, StorageError
from kdsearch.outages import is_busy, is_passing, retrying
from tests.servers import postgres_server, write_lock


def raised(engine: Engine, *statements):
    """What the last statement raises."""
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
    except SQLAlchemyError as error:
        return error
    finally:
        engine.dispose()
    raise AssertionError(f"no error: {statements[-1]}")


@pytest.fixture
def file(tmp_path):
    """A SQLite file with a table of 100 rows."""
    path = tmp_path / "kdsearch.db"
    engine = open_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE numbers (n INTEGER PRIMARY KEY, word TEXT)"))
        connection.execute(text("INSERT INTO numbers VALUES (1, :word)"), {"word": "x" * 50_000})
    engine.dispose()
    return path


def full(file):
    return raised(
        open_engine(f"sqlite:///{file}"),
        "PRAGMA max_page_count=1",
        "INSERT INTO numbers SELECT n + 1, word || word FROM numbers",
    )


def malformed(file):
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"?" * (len(content) - 4096))
    return raised(open_engine(f"sqlite:///{file}"), "SELECT * FROM numbers")


def read_only(file):
    return raised(
        open_engine(f"sqlite:///{file}"), "PRAGMA query_only=ON", "INSERT INTO numbers VALUES (2, '')"
    )


def no_database(file):
    file.write_bytes(b"no database at all " * 1000)
    return raised(create_engine(f"sqlite:///{file}"), "SELECT 1 FROM numbers")


def no_folder(file):
    return raised(create_engine(f"sqlite:///{file}/x.db"), "SELECT 1")


def missing_table(file):
    return raised(open_engine(f"sqlite:///{file}"), "SELECT 1 FROM missing")


def bad_data(file):
    return raised(open_engine(f"sqlite:///{file}"), "INSERT INTO numbers VALUES (1, '')")


@pytest.mark.parametrize(
    ("break_", "said"),
    {
        full: "database or disk is full; make room on its disk, and the same command resumes",
        malformed: "database disk image is malformed; restore it from a copy",
        read_only: "attempt to write a readonly database; let this user write there",
        no_database: "file is not a database; restore it from a copy",
        no_folder: "unable to open database file; let this user write there",
        missing_table: "no such table: missing; remove the cause",
        bad_data: "UNIQUE constraint failed: numbers.n; remove the cause",
    }.items(),
)
def test_what_is_broken_for_good_is_said_at_once_with_file_and_cure(file, break_, said):
    error = break_(file)
    assert not is_passing(error)
    started, url = monotonic(), f"sqlite:///{file}"

    def call():
        raise error

    with pytest.raises(StorageError) as told, reporting(url):
        retrying()(call)
    assert monotonic() - started < 1
    assert str(told.value).startswith(f"{file}: {said}")
    assert "\n" not in str(told.value)


def test_a_lock_passes(file):
    with write_lock(file):
        error = raised(create_engine(f"sqlite:///{file}", connect_args={"timeout": 0}), "DELETE FROM numbers")
    assert is_busy(error)
    assert is_passing(error)
    said = r"kdsearch\.db: database is locked; the database did not come back"
    with pytest.raises(OutageError, match=said), reporting(f"sqlite:///{file}"):
        raise error


@pytest.fixture(scope="module")
def server():
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres(server):
    return server.new_database()


@pytest.mark.postgres
def test_what_postgresql_refuses_for_good_does_not_pass(postgres):
    for statement in (
        "SELECT 1 FROM missing",
        "SELECT 1 / 0",
        "SET TRANSACTION READ ONLY; CREATE TABLE t (n INTEGER)",
        "SET ROLE pg_monitor; CREATE TABLE t (n INTEGER)",
    ):
        assert not is_passing(raised(create_engine(postgres), *statement.split("; "))), statement
    for url in (postgres.replace("test_", "no_"), make_url(postgres).set(username="nobody1")):
        assert not is_passing(raised(create_engine(url), "SELECT 1"))
    asked = create_engine(f"{postgres}&password=secret-word&foo=1")
    with pytest.raises(StorageError) as told, reporting(f"{postgres}&password=secret-word&foo=1"):
        raise raised(asked, "SELECT 1")
    assert "secret-word" not in str(told.value)
    assert 'invalid connection option "foo"' in str(told.value)


@pytest.mark.postgres
def test_what_postgresql_refuses_for_now_passes(postgres):
    ended = raised(create_engine(postgres), "SELECT pg_terminate_backend(pg_backend_pid())")
    waited = "SET lock_timeout = '1ms'"
    first = create_engine(postgres)
    with first.begin() as connection:
        connection.execute(text("CREATE TABLE held (n INTEGER)"))
    with first.begin() as connection:
        connection.execute(text("LOCK TABLE held"))
        locked = raised(create_engine(postgres), waited, "SELECT * FROM held")
    first.dispose()
    refused = raised(create_engine("postgresql+psycopg://me@127.0.0.1:1/x"), "SELECT 1")
    assert [is_passing(each) for each in (ended, locked, refused)] == [True] * 3
    assert [is_busy(each) for each in (ended, locked, refused)] == [False, True, False]


@pytest.mark.postgres
def test_too_many_clients_are_waited_for(server, postgres):
    held, plain = [], postgres.replace("+psycopg", "")
    with pytest.raises(psycopg.OperationalError, match="too many clients"):
        held.extend(psycopg.connect(plain) for _ in range(1000))
    engine = create_engine(postgres)
    error = raised(engine, "SELECT 1")
    assert is_busy(error)
    refusals = []

    def call():
        try:
            with engine.connect() as connection:
                return connection.execute(text("SELECT 7")).scalar_one()
        except SQLAlchemyError:
            refusals.append(1)
            held.pop().close()
            raise

    assert retrying()(call) == 7
    assert refusals
    for connection in held:
        connection.close()
    engine.dispose()
