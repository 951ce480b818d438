"""The folders and regular files in a folder, through links too; opens none of them."""

import os
import stat
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from kdsearch.data.formats import SUFFIXES
from kdsearch.data.passed_over import BACK, BROKEN, DEVICE, OTHER, PIPE, SOCKET, PassedOver
from kdsearch.errors import DataError

LEFT_BEHIND = {  # by systems, archivers and network drives
    "__MACOSX",
    "@eaDir",
    "#recycle",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    "Thumbs.db",
    "desktop.ini",
}
NO_FILES = {stat.S_IFIFO: PIPE, stat.S_IFSOCK: SOCKET, stat.S_IFCHR: DEVICE, stat.S_IFBLK: DEVICE}

Inode = tuple[int, int]


class Content(NamedTuple):
    """The visible folders, the image files, and the files that are not read, sorted by path.

    A broken link with the name of an image is among the images: it is an image that is missing.
    """

    folders: list[Path]
    images: list[Path]
    passed: list[PassedOver]


def content(folder: Path) -> Content:
    """The content of the folder itself. Raises DataError if it cannot be read."""
    parts = Content([], [], [])
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not (entry.name.startswith(".") or entry.name in LEFT_BEHIND):
                    sort_in(parts, Path(entry.path), kind(entry))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from None
    return Content(sorted(parts.folders), sorted(parts.images), sorted(parts.passed))


def kind(entry: os.DirEntry[str]) -> int:
    """The file type, that of the target for a link; 0 for a link that leads nowhere."""
    try:
        return stat.S_IFMT(entry.stat().st_mode)
    except OSError:
        if entry.is_symlink():
            return 0
        raise


def sort_in(parts: Content, path: Path, file_type: int) -> None:
    """Adds the path to folders, images or files that are not read."""
    if file_type == stat.S_IFDIR:
        parts.folders.append(path)
    elif file_type in NO_FILES:
        parts.passed.append(PassedOver(path, NO_FILES[file_type]))
    elif path.suffix.lower() in SUFFIXES:
        parts.images.append(path)
    else:
        parts.passed.append(PassedOver(path, OTHER if file_type else BROKEN))


def images_below(folder: Path, above: Iterable[Inode]) -> Content:
    """The images in the folder and all folders below it, each folder once; Content's folders stay empty.

    Linked folders come after all others, so that a folder is read under its own path. A folder in `above` is
    not read: a link to it would add the images of other classes, or never end. Raises DataError.
    """
    images: list[Path] = []
    passed: list[PassedOver] = []
    known, pending = set(above), deque([folder])
    while pending:
        place = pending.popleft()
        if (mark := inode(place)) in known:
            passed.append(PassedOver(place, BACK))
            continue
        known.add(mark)
        inner = content(place)
        images += inner.images
        passed += inner.passed
        for each in inner.folders:
            if each.is_symlink():
                pending.append(each)
            else:
                pending.appendleft(each)
    return Content([], sorted(images), sorted(passed))


def inode(folder: Path) -> Inode:
    """Device and inode, which are equal for two paths to the same folder. Raises DataError."""
    try:
        status = folder.stat()
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from None
    return status.st_dev, status.st_ino


def ancestors(*folders: Path) -> set[Inode]:
    """The inodes of the folders and of all folders above them."""
    resolved = (folder.resolve() for folder in folders)
    return {inode(each) for folder in resolved for each in (folder, *folder.parents)}
