"""The folders of kdsearch's files, and the files of a user."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from platformdirs import user_cache_path, user_state_path

from kdsearch.errors import KdsearchError, UsageError

CACHE = "KDSEARCH_CACHE"
STATE = "KDSEARCH_STATE"
NO_FILES = {
    stat.S_IFDIR: "Is a directory",
    stat.S_IFIFO: "Is a named pipe",
    stat.S_IFSOCK: "Is a socket",
    stat.S_IFCHR: "Is a device",
    stat.S_IFBLK: "Is a device",
}


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


def check_writable(folder: Path, cure: str, *, make: bool = True) -> None:
    """Writes a file to `folder` to test it; with `make` makes it first if it does not exist.

    Raises UsageError with the system's reason and `cure`, before a later step needs the folder.
    """
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as file:
            file.write(b"kdsearch")
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written to ({error.strerror}); {cure}") from None


def check_out(out: Path, option: str, *, force: bool, make_folder: bool) -> Path:
    """The full path of the file that `option` names, once one was written to its folder as a test.

    `force` allows a file that exists, `make_folder` a folder that does not. Raises UsageError.
    """
    try:
        out = out.resolve()
        if out.exists() and not out.is_file():
            raise UsageError(f"{option} {out}: is no ordinary file; name another")
        if out.exists() and not force:
            raise UsageError(f"{option} {out}: exists already; --force replaces it, or name another file")
    except OSError as error:
        raise UsageError(f"{option} {out}: cannot be written ({error.strerror}); name another file") from None
    check_writable(out.parent, f"let {option} name a file in another folder", make=make_folder)
    return out


@contextmanager
def replacing(path: Path, command: str, cure: str, *, option: str = "--out") -> Iterator[Path]:
    """Where to write what becomes the file `path` at the end, if all went well.

    It is in the same folder, under a name with `command`. Raises KdsearchError with `option`, which named the
    file, the system's reason and `cure` if it cannot be written.
    """
    try:
        with TemporaryDirectory(prefix=f".kdsearch-{command}.", dir=path.parent) as folder:
            whole = Path(folder, "whole")
            yield whole
            whole.replace(path)
    except OSError as error:
        raise KdsearchError(f"{option} {path}: cannot be written ({error.strerror}); {cure}") from error


def open_regular(path: Path) -> BufferedReader:
    """The file or what it links to, opened for reading.

    Raises OSError, also if it is a folder, a named pipe, a socket or a device. These are not opened: a pipe
    waits for a writer, and opening a device may start it.
    """
    reason = NO_FILES.get(stat.S_IFMT(path.stat().st_mode))
    if reason is not None:
        raise OSError(errno.EINVAL, reason, str(path))
    return path.open("rb")


def read_text(path: Path, error: type[KdsearchError]) -> str:
    """The text of a file in UTF-8, without its byte order mark. Raises `error`, which names the file."""
    try:
        with TextIOWrapper(open_regular(path), encoding="utf-8-sig") as file:
            return file.read()
    except OSError as reason:
        raise error(f"{path}: cannot be read: {reason.strerror}") from None
    except UnicodeDecodeError:
        raise error(f"{path}: not a text file in UTF-8; save it in that encoding") from None


def expanded(path: str) -> Path:
    """`~` and `~user` replaced by the home directory if there is one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user, or one without a home
        return Path(path)
