"""A user's files: opens only regular ones; text is UTF-8, with or without a byte order mark."""

import errno
import stat
from io import BufferedReader, TextIOWrapper
from pathlib import Path

from kdsearch.errors import KdsearchError

NO_FILES = {
    stat.S_IFDIR: "Is a directory",
    stat.S_IFIFO: "Is a named pipe",
    stat.S_IFSOCK: "Is a socket",
    stat.S_IFCHR: "Is a device",
    stat.S_IFBLK: "Is a device",
}


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
