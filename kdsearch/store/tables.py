"""The tables that kdsearch adds to the study's database, beside Optuna's."""

import math

from sqlalchemy import (
    Column,
    Dialect,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    column,
    table,
)

VERSION_TABLE = "kdsearch_alembic_version"
REVISIONS = ("0001",)  # the migrations in order; the last one makes the tables below


class Real(TypeDecorator[float]):
    """A float64 that may be NaN, kept as NULL: SQLite has no NaN, and SQL's averages pass over NULL."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        return None if value is None or math.isnan(value) else value

    def process_result_value(self, value: float | None, dialect: Dialect) -> float:
        return math.nan if value is None else value


metadata = MetaData()
versions = table(VERSION_TABLE, column("version_num"))

epochs = Table(
    "kdsearch_epochs",
    metadata,
    Column("study", String(255), primary_key=True),
    Column("phase", String(32), primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("train_loss", Real),
    Column("parts", Text, nullable=False),  # JSON text: a JSON column of PostgreSQL refuses NaN
    Column("val_loss", Real),
    Column("val_accuracy", Real),
    Column("learning_rate", Real),
    Column("images_per_second", Real),
    Column("seconds", Real),
    Column("finished_at", Real),
)

files = Table(
    "kdsearch_files",
    metadata,
    Column("study", String(255), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("sha256", String(64), nullable=False),  # of the whole file
    Column("content", LargeBinary, nullable=False),
)
