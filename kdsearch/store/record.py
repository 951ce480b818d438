"""The record: a study's epochs and weights, as tables beside Optuna's in the study's database."""

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar
from uuid import uuid4

from optuna.exceptions import UpdateFinishedTrialError
from sqlalchemy import Connection, Engine, Executable, Table, bindparam, column, delete, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite

from kdsearch.database import open_engine, place, reporting, to_read, to_write
from kdsearch.epoch import EpochResult
from kdsearch.errors import StorageError, StudyDeletedError
from kdsearch.outages import OUTAGE_SECONDS, retrying
from kdsearch.store.runs import Run
from kdsearch.store.schema import REVISIONS, create_record, epochs, files, studies, versions

IDENTITY = "identity"
PART_BYTES = 16 * 2**20

Insert = sqlite.Insert | postgresql.Insert
T = TypeVar("T")
# A row that is read so on PostgreSQL cannot be deleted before the transaction ends.
HELD = (
    select(studies.c.study_name)
    .where(studies.c.study_name == bindparam("study"))
    .with_for_update(read=True, key_share=True)
)
RUNNING = text("SELECT trial_id FROM trials WHERE trial_id = :trial AND state = 'RUNNING'")
COMPLETE = """
    FROM trials JOIN studies ON studies.study_id = trials.study_id
    WHERE study_name = :study AND state = 'COMPLETE'
"""
COUNT, COMPLETE_IDS = text(f"SELECT count(*) AS trials {COMPLETE}"), text(f"SELECT trial_id {COMPLETE}")
CURVES = (
    text("""
        SELECT slot.trial_id, reached.epoch, reached.val_accuracy
        FROM trial_user_attributes slot
        JOIN trial_user_attributes attempt ON attempt.trial_id = slot.trial_id AND attempt.key = 'attempt'
        JOIN kdsearch_epochs reached ON reached.study = :study AND reached.phase = 'search'
            AND reached.place = CAST(slot.value_json AS INTEGER)
            AND reached.attempt = CAST(attempt.value_json AS INTEGER)
        WHERE slot.key = 'slot' AND slot.trial_id IN :trials
    """)
    .bindparams(bindparam("trials", expanding=True))
    .columns(column("trial_id"), epochs.c.epoch, epochs.c.val_accuracy)
)
INSERT: dict[str, Callable[[Table], Insert]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class StudyRecord:
    """The epochs and the files of one study, read and written by any number of processes.

    Each call repeats itself while the database is away, for up to `patience` seconds, and raises StorageError
    at last.
    An epoch is named by its run and its number and a file by its name; what is written first stays. So a
    trial that is resumed from an older checkpoint, or a call whose answer was lost, changes nothing. Nothing
    is written for a study that Optuna's tables, if they exist, do not have: StudyDeletedError.
    """

    def __init__(
        self, storage: str | Engine, study: str, *, patience: float = OUTAGE_SECONDS, reading: bool = False
    ) -> None:
        self.study = study
        self.retrying = retrying(patience)
        self.engine = open_engine(storage) if isinstance(storage, str) else storage
        self._reader, self._writer = to_read(self.engine), to_write(self.engine)
        self._insert = INSERT[self.engine.dialect.name]
        self._insert_epoch = self._insert(epochs).on_conflict_do_nothing()
        self._guarded = reading or self._repeat(self._prepare)

    def _prepare(self) -> bool:
        """Makes the tables if they are missing or older; whether the study is a row of Optuna's tables."""
        with self._reader.begin() as connection:
            names = set(inspect(connection).get_table_names())
            has_version = versions.name in names
            current = connection.scalar(select(versions.c.version_num)) if has_version else None
        if current not in (None, *REVISIONS):
            raise StorageError(f"{place(self._url)}: a newer kdsearch wrote it; install that version")
        if current != REVISIONS[-1]:
            create_record(self._writer)
        return studies.name in names

    def epoch(self, run: Run, result: EpochResult, trial: int | None = None) -> None:
        """Keeps `result`, unless the epoch is there already.

        Raises UpdateFinishedTrialError if `trial`, an id of Optuna's, does not run any more: another
        worker has taken it over.
        """
        row = self._epoch_row(run, result)

        def insert(connection: Connection) -> None:
            if trial is not None and connection.execute(RUNNING, {"trial": trial}).first() is None:
                raise UpdateFinishedTrialError(f"trial with id {trial} does not run any more")
            connection.execute(self._insert_epoch, row)

        self._write(insert)

    def replace_epochs(self, run: Run, results: Sequence[EpochResult]) -> None:
        """Keeps `results`, and no other epochs, of this run; all or none of them."""
        rows = [self._epoch_row(run, result) for result in results]

        def replace(connection: Connection) -> None:
            connection.execute(delete(epochs).where(*self._of_run(run)))
            if rows:
                connection.execute(self._insert_epoch, rows)

        self._write(replace)

    def epochs(self, run: Run) -> list[EpochResult]:
        """The recorded epochs of a run, in order."""
        query = select(epochs).where(*self._of_run(run)).order_by(epochs.c.epoch)
        return [_result(row) for row in self._read(query)]

    def complete_curves(self, known: Collection[int]) -> dict[int, dict[int, float]]:
        """The accuracies by epoch of the complete trials of a search, by Optuna's id, less those `known`.

        One statement, which counts them, if there are no others: what has ended does not change.
        """
        if self._read(COUNT.bindparams(study=self.study)) == [{"trials": len(known)}]:
            return {}
        complete = {row["trial_id"] for row in self._read(COMPLETE_IDS.bindparams(study=self.study))}
        curves: dict[int, dict[int, float]] = {trial: {} for trial in sorted(complete.difference(known))}
        for row in self._read(CURVES.params(study=self.study, trials=list(curves))):
            curves[row["trial_id"]][row["epoch"]] = row["val_accuracy"]
        return curves

    def all_epochs(self) -> dict[Run, list[EpochResult]]:
        """Every recorded epoch of the study, in order, by run."""
        runs: dict[Run, list[EpochResult]] = {}
        order = *(epochs.c[name] for name in Run._fields), epochs.c.epoch
        for row in self._read(select(epochs).where(epochs.c.study == self.study).order_by(*order)):
            runs.setdefault(Run(*(row[name] for name in Run._fields)), []).append(_result(row))
        return runs

    def put_file(self, name: str, content: bytes, *, replace: bool = False) -> str:
        """Stores `content` whole or not at all; returns the sha256 of what is stored under `name` now.

        A file that is there stays as it is, unless `replace`. Of several that write at once, one wins.
        """
        return self._write(lambda connection: self._put_file(connection, name, content, replace))

    def file(self, name: str) -> bytes | None:
        """The content of a file, None if there is none. Raises StorageError if it is damaged."""
        query = select(files.c.sha256, files.c.content).where(*self._named(name)).order_by(files.c.part)
        parts = self._read(query)
        if not parts:
            return None
        content = b"".join(part["content"] for part in parts)
        if hashlib.sha256(content).hexdigest() != parts[0]["sha256"]:
            raise StorageError(
                f"{place(self._url)}: the file {name!r} of study {self.study!r} is damaged; restore the "
                f"database, or remove the study with 'kdsearch delete {self.study}'"
            )
        return content

    def files(self) -> list[str]:
        """The names of the study's files, sorted."""
        query = select(files.c.name).where(files.c.study == self.study, files.c.part == 0)
        return sorted(row["name"] for row in self._read(query))

    def delete_file(self, name: str) -> None:
        """Removes a file; a name that is not there is no error."""
        self._write(lambda connection: connection.execute(delete(files).where(*self._named(name))))

    def identity(self) -> str:
        """A name for this study that no other study has, in whatever database; made once."""
        self.put_file(IDENTITY, uuid4().hex.encode())
        content = self.file(IDENTITY)
        assert content is not None, "put_file leaves a file"
        return content.decode()

    def delete(self) -> None:
        """Removes all that the record knows of the study, whether there is such a study or not."""

        def remove() -> None:
            with self._writer.begin() as connection:
                for each in (epochs, files):
                    connection.execute(delete(each).where(each.c.study == self.study))

        self._repeat(remove)

    @property
    def _url(self) -> str:
        return self.engine.url.render_as_string(hide_password=False)

    def _epoch_row(self, run: Run, result: EpochResult) -> dict[str, Any]:
        row = result.model_dump() | {"parts": json.dumps(result.parts)}
        return row | {"study": self.study, **run._asdict()}

    def _of_run(self, run: Run) -> tuple[Any, ...]:
        own = (epochs.c[name] == value for name, value in run._asdict().items())
        return epochs.c.study == self.study, *own

    def _named(self, name: str) -> tuple[Any, Any]:
        return files.c.study == self.study, files.c.name == name

    def _put_file(self, connection: Connection, name: str, content: bytes, replace: bool) -> str:
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

    def _write(self, change: Callable[[Connection], T]) -> T:
        """Makes the change in a transaction in which nobody can delete the study."""

        def write() -> T:
            with self._writer.begin() as connection:
                if self._guarded and connection.execute(HELD, {"study": self.study}).first() is None:
                    raise StudyDeletedError
                return change(connection)

        return self._repeat(write)

    def _read(self, query: Executable) -> list[dict[str, Any]]:
        def read() -> list[dict[str, Any]]:
            with self._reader.begin() as connection:
                return [dict(row) for row in connection.execute(query).mappings()]

        return self._repeat(read)

    def _repeat(self, call: Callable[[], T]) -> T:
        with reporting(self._url):
            return self.retrying(call)


def _result(row: dict[str, Any]) -> EpochResult:
    fields = {name: row[name] for name in EpochResult.model_fields}
    return EpochResult(**fields | {"parts": json.loads(row["parts"])})
