"""The tables of the record, created or brought to this version. Loads Alembic, which no worker needs."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, inspect, text

from kdsearch.store.tables import CREATION_LOCK, epochs, metadata


def create_tables(engine: Engine) -> None:
    """Creates what is missing and migrates what is older; safe when many processes start at once.

    On SQLite the transaction holds the write lock from its start (`database.make_atomic`); on PostgreSQL an
    advisory lock stands in for it, since `CREATE TABLE IF NOT EXISTS` itself fails in a race.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": CREATION_LOCK})
        config = _config(connection)
        if epochs.name in inspect(connection).get_table_names():
            command.upgrade(config, "head")
        else:
            metadata.create_all(connection)
            command.stamp(config, "head")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
