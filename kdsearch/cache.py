"""Files that can be made again: a folder for each kind, an entry for each key, written once, atomically."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from filelock import FileLock

from kdsearch.errors import KdsearchError
from kdsearch.places import cache_root


def digest(*parts: object) -> str:
    """A key of 20 hex digits for JSON-able parts."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def entry(kind: str, *names: str) -> Path:
    """The folder of one entry; it exists exactly when the entry is whole."""
    return cache_root().joinpath(kind, *names)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the entry's file lock: one process of this machine at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        yield


@contextmanager
def making(path: Path, size: int) -> Iterator[Path]:
    """A temporary folder that becomes the entry `path` when the block ends well, and vanishes otherwise.

    `size` is what it will take, in bytes. Raises KdsearchError when the disk has less than that free.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise KdsearchError(
            f"{path.parent}: {(size - free) / 2**30:.1f} GiB too little free disk for the cache; "
            "free some, or let KDSEARCH_CACHE name a folder on a larger disk"
        )
    temporary = Path(mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
