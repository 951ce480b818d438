"""The folders of kdsearch's files, and a check that they can be written to."""

import os
from pathlib import Path
from tempfile import TemporaryFile

from platformdirs import user_cache_path, user_state_path

from kdsearch.errors import UsageError

CACHE = "KDSEARCH_CACHE"
STATE = "KDSEARCH_STATE"


def cache_root() -> Path:
    """`KDSEARCH_CACHE`, else the user's cache directory: files that can be made again. Raises UsageError."""
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
    """Makes `folder` if it does not exist, and writes a file there to test it.

    Raises UsageError with the system's reason and `cure`, before a later step needs the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as file:
            file.write(b"kdsearch")
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written to ({error.strerror}); {cure}") from None
