"""Where checkpoints lie, not in a cache, since nothing else can make them again; and when they go."""

import re
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sqlalchemy.engine import make_url

from kdsearch.cache import digest
from kdsearch.files import STATE, check_writable, state_root
from kdsearch.store.facts import End
from kdsearch.store.record import StudyRecord
from kdsearch.store.trials import FINISHED, StudyTrial

ABANDONED_DAYS = 60
STUDY_FOLDER = re.compile("[0-9a-f]{20}|[0-9a-f]{32}")  # the URL's digest, until version 0.1.0; an identity


def check_state() -> None:
    """Raises UsageError if no checkpoint could be written."""
    check_writable(state_root(), f"let {STATE} name a folder that can be written to")


def checkpoint_folder(record: StudyRecord) -> Path:
    """The folder of one study's checkpoints: the study's own, however its database is addressed."""
    return state_root() / record.identity()


def adopt_checkpoints(record: StudyRecord, storage: str) -> Path:
    """`checkpoint_folder`, with what an earlier version left in a folder that it named after `storage`."""
    folder, earlier = checkpoint_folder(record), _folder_of_url(storage, record.study)
    if earlier.is_dir() and not folder.exists():
        with suppress(OSError):  # another machine that shares the state was first
            earlier.rename(folder)
    return folder


def _folder_of_url(storage: str, study: str) -> Path:
    url = make_url(storage)
    file = url.database if url.drivername.startswith("sqlite") else None
    place = str(Path(file).resolve()) if file else url.host
    return state_root() / digest(url.drivername.split("+")[0], place, url.port, url.database, study)


def remove_spent(folder: Path, trials: Iterable[StudyTrial]) -> None:
    """Removes the checkpoints that none of these trials will resume.

    They are those of places that are finished, of attempts that failed, and of all but a place's latest
    attempt: nobody asks for these again, on any machine, so nobody's work is lost even if a worker that
    was taken for dead still writes one.
    """
    known = [(run, trial) for trial in trials if (run := trial.run)]
    latest = {run[:2]: run.attempt for run, _ in sorted(known, key=lambda pair: pair[0])}
    finished = {run[:2] for run, trial in known if trial.state in FINISHED}
    failed = {run for run, trial in known if trial.facts.mark == End.FAILED}
    spent = {
        Path(run.checkpoint).stem  # the next file, half written, is called so as well
        for run, _ in known
        if run[:2] in finished or run in failed or run.attempt < latest[run[:2]]
    }
    with suppress(OSError):  # no folder yet; or a share that is gone: the next run cleans up
        for file in list(folder.iterdir()):
            if file.stem in spent:
                file.unlink(missing_ok=True)


def remove_abandoned(own: Path) -> None:
    """Removes checkpoints that nobody has written for ABANDONED_DAYS, but for those in the folder `own`.

    Their study was deleted on another machine, or with its database. A running trial writes its own every
    half minute, so the age proves that none is in use, whoever shares the folder.
    """
    with suppress(OSError):
        for file in list(state_root().glob("*/slot-*-*.*")):
            days = (time.time() - file.stat().st_mtime) / 86400
            if STUDY_FOLDER.fullmatch(file.parent.name) and days > ABANDONED_DAYS and file.parent != own:
                file.unlink(missing_ok=True)
                with suppress(OSError):  # not empty
                    file.parent.rmdir()


def delete_checkpoints(record: StudyRecord, storage: str) -> None:
    """Removes the study's checkpoints on this machine; to be called before the record goes."""
    for folder in (checkpoint_folder(record), _folder_of_url(storage, record.study)):
        shutil.rmtree(folder, ignore_errors=True)
