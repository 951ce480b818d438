"""Where checkpoints lie: not a cache, since nothing else can make them again."""

import os
import shutil
from pathlib import Path

from platformdirs import user_state_path
from sqlalchemy.engine import make_url

from kdsearch.cache import digest


def state_root() -> Path:
    """`KDSEARCH_STATE`, which machines may share, else the user's state directory."""
    named = os.environ.get("KDSEARCH_STATE")
    return Path(named) if named else user_state_path("kdsearch")


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
