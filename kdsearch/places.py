"""Where kdsearch keeps its files, and whether they can be written there."""

import os
from pathlib import Path
from tempfile import TemporaryFile

from platformdirs import user_cache_path, user_state_path

from kdsearch.errors import UsageError

CACHE = "KDSEARCH_CACHE"
STATE = "KDSEARCH_STATE"


def cache_root() -> Path:
    """`KDSEARCH_CACHE`, else the user's cache directory: what can be made again. Raises UsageError."""
    return _root(CACHE)


def state_root() -> Path:
    """`KDSEARCH_STATE`, which machines may share, else the user's state directory: checkpoints.

    Raises UsageError.
    """
    return _root(STATE)


def _root(variable: str) -> Path:
    named = os.environ.get(variable)
    try:
        if named:
            return Path(named).expanduser()
        return user_cache_path("kdsearch") if variable == CACHE else user_state_path("kdsearch")
    except RuntimeError:  # a user id without a home: `docker run --user 12345`
        raise UsageError(
            f"this user has no home directory; let {CACHE} and {STATE} name folders that can be written to"
        ) from None


def check_writable(folder: Path, cure: str) -> None:
    """Makes `folder` where it is not there, and tries it with a file.

    Raises UsageError with the system's reason and `cure`, so that what is needed late is known early.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as file:
            file.write(b"kdsearch")
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written to ({error.strerror}); {cure}") from None
