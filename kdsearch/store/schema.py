"""Optuna's tables: created by one process at a time, and looked for by those that create none."""

from pathlib import Path

from filelock import FileLock
from optuna.storages import RDBStorage
from sqlalchemy import Engine, inspect, text

from kdsearch.database import engine_options, open_engine, place, to_read
from kdsearch.errors import UsageError

ADVISORY_LOCK = 5_201_314  # any constant: those who create the tables take it in turn
NOTHING_HERE = "no study here yet; 'kdsearch run' creates one, --storage names another database"
REVISION = text("SELECT version_num FROM alembic_version")  # what Optuna writes last


def check_tables(url: str) -> None:
    """Raises UsageError where the tables are not all there.

    Optuna, opened on half of them, would add what lacks, and their creator, who does so too, would fail.
    """
    engine = open_engine(url, reading=True)
    try:
        with to_read(engine).begin() as connection:
            names = set(inspect(connection).get_table_names())
            whole = {"version_info", "alembic_version"} <= names
            if not whole or connection.execute(REVISION).first() is None:
                raise UsageError(f"{place(url)}: {NOTHING_HERE}")
    finally:
        engine.dispose()


def create_tables(url: str) -> None:
    """Creates what is missing. Raises UsageError where the database is another program's."""
    engine = open_engine(url)
    try:
        if engine.dialect.name == "postgresql":
            with engine.connect() as connection:
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
                _create(url, engine)
        elif engine.url.database:
            with FileLock(f"{Path(engine.url.database).resolve()}.lock"):  # one, whatever leads to the file
                _create(url, engine)
    finally:
        engine.dispose()


def _create(url: str, engine: Engine) -> None:
    with to_read(engine).begin() as connection:
        names = set(inspect(connection).get_table_names())
    if "alembic_version" in names and "studies" not in names:  # Optuna would need that table too
        raise UsageError(f"{place(url)}: another program's database; name another with --storage")
    RDBStorage(url, engine_kwargs=engine_options(url)).engine.dispose()
