"""Epochs are named by a run: phase, place, attempt. Until 0.1.0 the slot -1 stood for teachers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NUMBERS = (
    "train_loss",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "images_per_second",
    "seconds",
    "finished_at",
)
KEPT = ("study", "epoch", "parts", *NUMBERS)


def upgrade() -> None:
    """Copies the epochs into a table that has the phase in its key: SQLite cannot change one."""
    old = sa.table("kdsearch_epochs", *map(sa.column, (*KEPT, "slot", "attempt")))
    new = op.create_table(
        "kdsearch_epochs_0001",
        sa.Column("study", sa.String(255), primary_key=True),
        sa.Column("phase", sa.String(32), primary_key=True),
        *(sa.Column(name, sa.Integer, primary_key=True) for name in ("place", "attempt", "epoch")),
        sa.Column("parts", sa.Text, nullable=False),
        *(sa.Column(name, sa.Double) for name in NUMBERS),
    )
    of_teacher = old.c.slot == -1
    values = {
        "phase": sa.case((of_teacher, "teacher"), else_="search"),
        "place": sa.case((of_teacher, old.c.attempt), else_=old.c.slot),
        "attempt": sa.case((of_teacher, 0), else_=old.c.attempt),
        **{name: old.c[name] for name in KEPT},
    }
    op.execute(new.insert().from_select([*values], sa.select(*values.values())))
    op.drop_table("kdsearch_epochs")
    op.rename_table("kdsearch_epochs_0001", "kdsearch_epochs")
    if op.get_bind().dialect.name == "postgresql":  # the key's name, as in a table that is made anew
        op.execute("ALTER INDEX kdsearch_epochs_0001_pkey RENAME TO kdsearch_epochs_pkey")
