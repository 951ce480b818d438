"""Where checkpoints lie: not a cache, since nothing else can make them again."""

import shutil
from pathlib import Path

from sqlalchemy.engine import make_url

from kdsearch.cache import digest
from kdsearch.places import state_root


def checkpoint_folder(storage: str, study: str) -> Path:
    """The folder of one study's checkpoints; databases are told apart without their passwords."""
    url = make_url(storage)
    where = (
        str(Path(url.database).resolve())
        if url.drivername.startswith("sqlite") and url.database
        else url.host
    )
    return state_root() / digest(url.drivername.split("+")[0], where, url.port, url.database, study)


def delete_checkpoints(storage: str, study: str) -> None:
    """Removes the study's checkpoints on this machine."""
    shutil.rmtree(checkpoint_folder(storage, study), ignore_errors=True)
