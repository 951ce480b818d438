"""The record: what a study knows besides Optuna's trials, as rows of the study's own database."""

import hashlib
import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Delete, Engine, Select, Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import InterfaceError, OperationalError

from kdsearch.database import masked, open_engine, retrying
from kdsearch.epoch import EpochResult
from kdsearch.errors import StorageError
from kdsearch.tracking.tables import create_tables, epochs, files

TEACHER_SLOT = -1  # the slot of the teachers' curves; the attempt is a teacher's place among them
IDENTITY = "identity"
PART_BYTES = 16 * 2**20

# Only these pass with time: a mistake of ours in SQL is raised at once.
LOST = (OperationalError, InterfaceError)
Insert = sqlite.Insert | postgresql.Insert
INSERT: dict[str, Callable[[Table], Insert]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class StudyRecord:
    """The epochs and the files of one study, read and written by any number of processes.

    Each call repeats itself while the database is away (`database.retrying`). An epoch is named by (slot,
    attempt, epoch) and a file by its name; what is written first stays. So a trial that is resumed from an
    older checkpoint, or a call whose answer was lost, changes nothing.
    """

    def __init__(self, storage: str | Engine, study: str) -> None:
        self.study = study
        self.engine = open_engine(storage) if isinstance(storage, str) else storage
        retrying(LOST)(create_tables, self.engine)
        self._insert = INSERT[self.engine.dialect.name]
        self._insert_epoch = self._insert(epochs).on_conflict_do_nothing()

    def epoch(self, slot: int, attempt: int, result: EpochResult) -> None:
        """Keeps `result`, unless the epoch is there already."""
        row = result.model_dump() | {"parts": json.dumps(result.parts)}
        row |= {"study": self.study, "slot": slot, "attempt": attempt}
        self._write(self._insert_epoch, row)

    def epochs(self, slot: int, attempt: int) -> list[EpochResult]:
        """The recorded epochs of a trial, in order."""
        which = epochs.c.study == self.study, epochs.c.slot == slot, epochs.c.attempt == attempt
        query = select(epochs).where(*which).order_by(epochs.c.epoch)
        return [_result(row) for row in self._read(query)]

    def all_epochs(self) -> dict[tuple[int, int], list[EpochResult]]:
        """Every recorded epoch of the study, in order, by (slot, attempt)."""
        found: dict[tuple[int, int], list[EpochResult]] = {}
        order = epochs.c.slot, epochs.c.attempt, epochs.c.epoch
        for row in self._read(select(epochs).where(epochs.c.study == self.study).order_by(*order)):
            found.setdefault((row["slot"], row["attempt"]), []).append(_result(row))
        return found

    def put_file(self, name: str, content: bytes, *, replace: bool = False) -> str:
        """Stores `content` whole or not at all; returns the sha256 of what is stored under `name` now.

        A file that is there stays as it is, unless `replace`. Of several that write at once, one wins.
        """
        return retrying(LOST)(self._put_file, name, content, replace)

    def file(self, name: str) -> bytes | None:
        """The content of a file, None where there is none. Raises StorageError where it is damaged."""
        query = select(files.c.sha256, files.c.content).where(*self._named(name)).order_by(files.c.part)
        parts = self._read(query)
        if not parts:
            return None
        content = b"".join(part["content"] for part in parts)
        if hashlib.sha256(content).hexdigest() != parts[0]["sha256"]:
            where = masked(self.engine.url.render_as_string())
            raise StorageError(
                f"{where}: the file {name!r} of study {self.study!r} is damaged; restore the database, "
                f"or remove the study with 'kdsearch delete {self.study}'"
            )
        return content

    def files(self) -> list[str]:
        """The names of the study's files, sorted."""
        query = select(files.c.name).where(files.c.study == self.study, files.c.part == 0)
        return sorted(row["name"] for row in self._read(query))

    def delete_file(self, name: str) -> None:
        """Removes a file; a name that is not there is no error."""
        self._write(delete(files).where(*self._named(name)))

    def identity(self) -> str:
        """A name for this study that no other study has, in whatever database; made once."""
        self.put_file(IDENTITY, uuid4().hex.encode())
        content = self.file(IDENTITY)
        assert content is not None, "put_file leaves a file"
        return content.decode()

    def delete(self) -> None:
        """Removes all that the record knows of the study."""
        for table in (epochs, files):
            self._write(delete(table).where(table.c.study == self.study))

    def _named(self, name: str) -> tuple[Any, Any]:
        return files.c.study == self.study, files.c.name == name

    def _put_file(self, name: str, content: bytes, replace: bool) -> str:
        with self.engine.begin() as connection:
            if replace:
                connection.execute(delete(files).where(*self._named(name)))
            self._insert_parts(connection, name, content)
            first = select(files.c.sha256).where(*self._named(name), files.c.part == 0)
            return str(connection.execute(first).scalar_one())

    def _insert_parts(self, connection: Connection, name: str, content: bytes) -> None:
        key = {"study": self.study, "name": name, "sha256": hashlib.sha256(content).hexdigest()}
        for part, start in enumerate(range(0, max(1, len(content)), PART_BYTES)):
            row = key | {"part": part, "content": content[start : start + PART_BYTES]}
            # Part 0 decides: PostgreSQL lets a second writer wait here until the first has committed.
            if connection.execute(self._insert(files).values(row).on_conflict_do_nothing()).rowcount == 0:
                return

    def _write(self, statement: Insert | Delete, row: dict[str, Any] | None = None) -> None:
        def write() -> None:
            with self.engine.begin() as connection:
                connection.execute(statement, row)

        retrying(LOST)(write)

    def _read(self, query: Select[Any]) -> list[dict[str, Any]]:
        def read() -> list[dict[str, Any]]:
            with self.engine.begin() as connection:
                return [dict(row) for row in connection.execute(query).mappings()]

        return retrying(LOST)(read)


def _result(row: dict[str, Any]) -> EpochResult:
    fields = {name: row[name] for name in EpochResult.model_fields}
    return EpochResult(**fields | {"parts": json.loads(row["parts"])})
