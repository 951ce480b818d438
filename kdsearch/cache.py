"""Files that can be made again: a folder for each kind, an entry for each key, written once, atomically.

Nothing in the cache is used without a check: an entry has the sizes and checksums of its files.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, ENOSPC
from functools import cache
from pathlib import Path
from secrets import token_hex

import xxhash
from pydantic import TypeAdapter

from kdsearch.errors import CacheDamagedError, KdsearchError, UsageError
from kdsearch.files import CACHE, cache_root, check_writable

SUMS = "sums.json"  # of an entry: for each file, by its path in there, bytes and XXH3
SMALL = 2**20  # bytes of a file whose sum is compared at each opening
FULL = (ENOSPC, EDQUOT, EFBIG)
MORE_ROOM = f"free some, or let {CACHE} name a folder on a larger disk"
OWN_FOLDER = f"let {CACHE} name a folder that can be written to"
NOTES = TypeAdapter(dict[str, tuple[int, str]])
CHUNK = 2**20


def digest(*parts: object) -> str:
    """A key of 20 hex digits for JSON-able parts."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def entry(kind: str, *names: str) -> Path:
    """The folder of one entry; it exists exactly when the entry is whole."""
    return cache_root().joinpath(kind, *names)


def check_cache() -> None:
    """Raises UsageError if nobody can write to the cache, before anything is made."""
    check_writable(cache_root(), OWN_FOLDER)


def amount(size: int) -> str:
    """Bytes as a user reads them: GiB, or whole MiB, rounded up, for less than one."""
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{-(-size // 2**20)} MiB"


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds the entry's file lock: one process of this machine at a time.

    Removes incomplete files that killed processes left beside the entry. Raises BlockingIOError if another
    process holds the lock and `wait` is off.
    """
    name, how = lock_file(path), fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
    while True:
        with _writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with _writing(path.parent):
                fcntl.flock(descriptor, how)
            if _is_at(descriptor, name):  # else its last holder removed it with the entry
                for left in leftovers(path):
                    remove(left)
                yield
                return
        finally:
            os.close(descriptor)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turns an OSError in the block into a UsageError, but not BlockingIOError, which means a held lock."""
    try:
        yield
    except BlockingIOError:
        raise
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written to ({error.strerror}); {OWN_FOLDER}") from None


def lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def leftovers(path: Path) -> list[Path]:
    """Incomplete or half removed files beside the entry; nobody uses them while its lock is held."""
    half = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}")
    return [each for each in path.parent.iterdir() if half.fullmatch(each.name)]


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{token_hex(4)}")


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@cache
def hold(path: Path) -> int | None:
    """Keeps an entry, or a folder of them, from being cleared for as long as this process lives.

    Returns the descriptor of its shared lock; None if the entry is gone, or the file system has no such
    locks.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except OSError:
        return None
    return descriptor


@contextmanager
def making(path: Path, size: int) -> Iterator[Path]:
    """A temporary folder that becomes the entry `path` when the block ends well, and vanishes otherwise.

    `size` is the size of the entry in bytes. Raises KdsearchError if the disk has less than that free, or
    becomes full within the block.
    """
    with _writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    missing = size - shutil.disk_usage(path.parent).free
    if missing > 0:
        raise KdsearchError(
            f"{path.parent}: {amount(missing)} too little free disk for the cache; {MORE_ROOM}"
        )
    temporary = _beside(path)
    with _writing(path.parent):
        temporary.mkdir()
    try:
        yield temporary
        files = sorted(file for file in temporary.rglob("*") if file.is_file())
        notes = {file.relative_to(temporary).as_posix(): (file.stat().st_size, _sum(file)) for file in files}
        (temporary / SUMS).write_bytes(NOTES.dump_json(notes))
        temporary.rename(path)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise KdsearchError(f"{path.parent}: no room for the cache ({error.strerror}); {MORE_ROOM}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check(path: Path, *, wholly: bool) -> None:
    """Compares an entry with its `sums.json`: all sizes, and the checksums of the small files.

    `wholly` compares the checksums of all files. Raises CacheDamagedError, or UsageError for a file without
    permission to read.
    """
    file = path / SUMS
    try:
        notes = NOTES.validate_json(file.read_bytes())
        for name, (size, noted) in notes.items():
            file = path / name
            if file.stat().st_size != size:
                raise CacheDamagedError(f"{file}: damaged ({file.stat().st_size:,} bytes, not {size:,})")
            if (wholly or size <= SMALL) and _sum(file) != noted:
                raise CacheDamagedError(f"{file}: damaged (its checksum differs)")
    except PermissionError:  # another user's cache: sound for all that is known
        raise UsageError(f"{file}: cannot be read (Permission denied); {OWN_FOLDER}") from None
    except OSError as error:
        raise CacheDamagedError(f"{file}: damaged ({error.strerror})") from None
    except ValueError:
        raise CacheDamagedError(f"{file}: damaged (not what kdsearch writes)") from None


def is_held(path: Path) -> bool:
    """Whether a living process uses the entry."""
    return _is_locked(os.open(path, os.O_RDONLY), fcntl.LOCK_EX)


def in_making(path: Path) -> bool:
    """Whether a process makes or checks the entry, and so holds its lock. Any number may ask at once."""
    try:
        descriptor = os.open(lock_file(path), os.O_RDONLY)
    except OSError:
        return False
    return _is_locked(descriptor, fcntl.LOCK_SH)


def _is_locked(descriptor: int, how: int) -> bool:
    """Whether another process keeps this one from locking the file in that way; closes it."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def clear(path: Path) -> bool:
    """Removes the entry, incomplete files beside it, and its lock; False if a living process uses it."""
    try:
        with locked(path, wait=False):
            if path.exists():
                if is_held(path):
                    return False
                discard(path)
            lock_file(path).unlink(missing_ok=True)
    except BlockingIOError:
        return False
    return True


def names_in(folder: Path) -> set[str]:
    """The names of a folder's entries: whole ones, and those with only a lock or incomplete files.

    It ignores files whose names are not kdsearch's: they belong to somebody else.
    """
    named = re.compile(r"(?P<key>[0-9a-f]{20}|[0-9a-f]{32})|\.(?P<half>[0-9a-f]{20,32})\.(lock|[a-z0-9_]{8})")
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return {found["key"] or found["half"] for name in names if (found := named.fullmatch(name))}


def sound(path: Path, say: Callable[[str], None]) -> bool:
    """Whether the entry exists and all its checksums agree; says and removes a damaged one.

    The caller must hold the entry's lock.
    """
    if not path.exists():
        return False
    try:
        check(path, wholly=True)
    except CacheDamagedError as error:
        say(f"{error}; removed; kdsearch makes it again")
        discard(path)
        return False
    return True


def discard(path: Path) -> None:
    """Removes the entry, at once for all processes. Raises UsageError if there is no permission."""
    try:
        gone = path.rename(_beside(path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be removed ({error.strerror}); {OWN_FOLDER}") from None
    remove(gone)


def remove(path: Path) -> None:
    """Removes a file or a folder, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sum(file: Path) -> str:
    """XXH3, 128 bits, as hex digits."""
    content, room = xxhash.xxh3_128(), bytearray(CHUNK)
    with file.open("rb", buffering=0) as opened:
        while count := opened.readinto(room):
            content.update(memoryview(room)[:count])
    return content.hexdigest()
