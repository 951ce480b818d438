import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from kdsearch.database import check_url, open_engine
from kdsearch.errors import StorageError, UsageError
from kdsearch.outages import retrying


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'kdsearch.db'}"


@pytest.mark.parametrize(
    "good", ["sqlite:///kdsearch.db", "postgresql+psycopg://u:p@h/d", "postgresql://u@h:5432/d"]
)
def test_a_url_that_can_be_used_passes(good):
    check_url(good)


@pytest.mark.parametrize(
    ("url", "line"),
    {
        "": "--storage: not a database URL; write sqlite:///FILE or ",
        "kdsearch.db": "--storage: not a database URL; ",
        "postgresql://u:secret@h:port/d": "--storage: not a database URL; ",
        "mysql://u:secret@h/d": "--storage mysql://u:***@h/d: unknown database; known: sqlite, postgresql",
        "nothing://x": "--storage nothing://x: unknown database; known: sqlite, postgresql",
        "sqlite://": "--storage sqlite: names no file, which several processes need; write sqlite:///FILE",
        "sqlite:///:memory:": "--storage sqlite: names no file, which several processes need",
        "sqlite:///no/such/k.db": "--storage no/such/k.db: there is no folder no/such; create it first",
    }.items(),
)
def test_a_url_that_cannot_is_one_line_without_its_password(url, line):
    with pytest.raises(UsageError) as told:
        open_engine(url)
    assert str(told.value).startswith(line)
    assert "secret" not in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("driver", ["nodriver", "pg8000"])
def test_a_missing_driver_is_named_with_its_cure(driver):
    with pytest.raises(StorageError, match=r'its driver is missing; .*pip install "kdsearch\[postgres\]"$'):
        check_url(f"postgresql+{driver}://u:p@h/d")


def test_sqlite_keeps_a_write_ahead_log(url):
    engine = open_engine(url)
    with engine.begin() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()


def test_what_one_writer_read_no_other_changes_before_it_wrote(url):
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE counter (n INTEGER)"))
        connection.execute(text("INSERT INTO counter VALUES (0)"))

    def count():
        own = open_engine(url)
        for _ in range(25):
            with own.begin() as connection:
                seen = connection.execute(text("SELECT n FROM counter")).scalar_one()
                connection.execute(text("UPDATE counter SET n = :n"), {"n": seen + 1})
        own.dispose()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.begin() as connection:
        assert connection.execute(text("SELECT n FROM counter")).scalar_one() == 100
    engine.dispose()


def lost(*_):
    raise OperationalError("SELECT 1", {}, Exception("gone"))


def test_a_lost_connection_is_tried_again():
    left = [lost, lost]

    def call():
        return left.pop()() if left else 7

    assert retrying()(call) == 7
    assert left == []


def test_after_an_outage_that_is_too_long_the_last_error_is_raised():
    with pytest.raises(OperationalError):
        retrying(0)(lost)


def test_another_error_is_raised_at_once():
    calls = []
    with pytest.raises(ZeroDivisionError):
        retrying()(lambda: calls.append(1 / 0))
