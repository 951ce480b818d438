"""The tables of a study's database, Optuna's and the record's: created by one process at a time."""

import math
from pathlib import Path

import sqlalchemy as sa
from filelock import FileLock
from optuna.storages import RDBStorage

from kdsearch.database import engine_options, open_engine, place, to_read
from kdsearch.errors import UsageError

# Any number that no one else locks in this database; held until the transaction ends.
TURN = sa.text("SELECT pg_advisory_xact_lock(5201314)")
NOTHING_HERE = "no study here yet; 'kdsearch run' creates one, --storage names another database"
REVISION = sa.text("SELECT version_num FROM alembic_version")  # what Optuna writes last
VERSION_TABLE = "kdsearch_alembic_version"
REVISIONS = ("0001",)  # the migrations in order; the last one makes the tables below


class Real(sa.TypeDecorator[float]):
    """A float64 that may be NaN, kept as NULL: SQLite has no NaN, and SQL's averages pass over NULL."""

    impl = sa.Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: sa.Dialect) -> float | None:
        return None if value is None or math.isnan(value) else value

    def process_result_value(self, value: float | None, dialect: sa.Dialect) -> float:
        return math.nan if value is None else value


metadata = sa.MetaData()
studies = sa.table("studies", sa.column("study_name"))  # Optuna's
versions = sa.table(VERSION_TABLE, sa.column("version_num"))

epochs = sa.Table(
    "kdsearch_epochs",
    metadata,
    sa.Column("study", sa.String(255), primary_key=True),
    sa.Column("phase", sa.String(32), primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("train_loss", Real),
    sa.Column("parts", sa.Text, nullable=False),  # JSON text: a JSON column of PostgreSQL refuses NaN
    sa.Column("val_loss", Real),
    sa.Column("val_accuracy", Real),
    sa.Column("learning_rate", Real),
    sa.Column("images_per_second", Real),
    sa.Column("seconds", Real),
    sa.Column("finished_at", Real),
)

files = sa.Table(
    "kdsearch_files",
    metadata,
    sa.Column("study", sa.String(255), primary_key=True),
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sha256", sa.String(64), nullable=False),  # of the whole file
    sa.Column("content", sa.LargeBinary, nullable=False),
)


def check_tables(url: str) -> None:
    """Raises UsageError if Optuna's tables are not all there.

    Optuna, opened on half of them, would add what lacks, and their creator, who does so too, would fail.
    """
    engine = open_engine(url, reading=True)
    try:
        with to_read(engine).begin() as connection:
            names = set(sa.inspect(connection).get_table_names())
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


def _create(url: str, engine: sa.Engine) -> None:
    with to_read(engine).begin() as connection:
        names = set(sa.inspect(connection).get_table_names())
    if "alembic_version" in names and "studies" not in names:  # Optuna would need that table too
        raise UsageError(f"{place(url)}: another program's database; name another with --storage")
    RDBStorage(url, engine_kwargs=engine_options(url)).engine.dispose()


def create_record(engine: sa.Engine) -> None:
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
        if epochs.name in sa.inspect(connection).get_table_names():
            command.upgrade(config, "head")
        else:
            metadata.create_all(connection)
            command.stamp(config, "head")
