"""Databases for a study, and its record: fixtures for several folders."""

import pytest
from sqlalchemy import inspect

from kdsearch.database import open_engine
from kdsearch.epoch import EpochResult
from kdsearch.store.record import StudyRecord
from tests.servers import postgres_server


@pytest.fixture(scope="session")
def postgres():
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres):
    return postgres.new_database()


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path / 'kdsearch.db'}"


@pytest.fixture
def record(sqlite_url):
    made = StudyRecord(sqlite_url, "digits")
    yield made
    made.engine.dispose()


@pytest.fixture
def epoch():
    def make(number, **values):
        facts = {
            "train_loss": 1.0 / number,
            "parts": {"ce": 0.5, "kl": 0.25},
            "val_loss": 0.3,
            "val_accuracy": 0.5,
            "learning_rate": 0.01,
            "images_per_second": 1000.0,
            "seconds": 1.5,
            "finished_at": 1_700_000_000.125 + number,
        }
        return EpochResult(epoch=number, **(facts | values))

    return make


def content(url):
    """Every row of every table."""
    engine = open_engine(url)
    with engine.begin() as connection:
        names = inspect(connection).get_table_names()
        rows = {name: connection.exec_driver_sql(f"SELECT * FROM {name}").fetchall() for name in names}
    engine.dispose()
    return rows
