"""The tables of a study's database, Optuna's and the record's: created by one process at a time."""

from pathlib import Path

from filelock import FileLock
from optuna.storages import RDBStorage
from sqlalchemy import Engine, inspect, text

from kdsearch.database import engine_options, open_engine, place, to_read
from kdsearch.errors import UsageError
from kdsearch.store.tables import epochs, metadata

# Any number that no one else locks in this database; held until the transaction ends.
TURN = text("SELECT pg_advisory_xact_lock(5201314)")
NOTHING_HERE = "no study here yet; 'kdsearch run' creates one, --storage names another database"
REVISION = text("SELECT version_num FROM alembic_version")  # what Optuna writes last


def check_tables(url: str) -> None:
    """Raises UsageError if Optuna's tables are not all there.

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
    """Creates what is missing of Optuna's. Raises UsageError if the database is another program's."""
    engine = open_engine(url)
    try:
        if engine.dialect.name == "postgresql":
            with engine.begin() as connection:
                connection.execute(TURN)
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


def create_record(engine: Engine) -> None:
    """Creates what is missing of the record's tables, or migrates what is older.

    On SQLite the transaction holds the write lock from its start (`database.make_atomic`); on PostgreSQL
    `CREATE TABLE IF NOT EXISTS` itself fails in a race.
    """
    from alembic import command  # noqa: PLC0415  no worker comes here
    from alembic.config import Config  # noqa: PLC0415

    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(TURN)
        config = Config()
        folder = str(Path(__file__).with_name("migrations"))
        config.set_main_option("script_location", folder.replace("%", "%%"))
        config.attributes["connection"] = connection
        if epochs.name in inspect(connection).get_table_names():
            command.upgrade(config, "head")
        else:
            metadata.create_all(connection)
            command.stamp(config, "head")
