"""The folders and files in a folder, through links too: which are images, and which are passed over and why.

Opens none of them.
"""

import os
import stat
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from kdsearch.errors import DataError
from kdsearch.names import visible

FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm"),
    "AVIF": (".avif",),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)


OTHER = "file{s} not named like an image"
PIPE, SOCKET, DEVICE = "named pipe{s}", "socket{s}", "device{s}"
BROKEN = "link{s} that lead{nos} nowhere"
BACK = "link{s} to a folder that is read already"
STRAY = "image{s} beside the class folders"
EMPTY = "folder{s} without images"
BESIDE = "folder{s} beside the splits"
NAMES = "file{s} of class names, since not all classes are numbers"

MOST = 5  # suffixes that are named


class PassedOver(NamedTuple):
    """A path that is not read, with one of the reasons above."""

    path: Path
    reason: str


def told(passed: Iterable[PassedOver], root: Path) -> list[str]:
    """A phrase for each reason: how many, and the first path below `root`, or the suffixes."""
    groups: dict[str, list[Path]] = {}
    for path, reason in passed:
        groups.setdefault(reason, []).append(path)
    return [
        f"{counted(len(paths), reason)} ({suffixes(paths) if reason == OTHER else first(paths, root)})"
        for reason, paths in groups.items()
    ]


def counted(count: int, noun: str) -> str:
    """`1 file` or `2 files`."""
    return f"{count} {noun.format(s='s' if count > 1 else '', nos='' if count > 1 else 's')}"


def first(paths: list[Path], root: Path) -> str:
    """The first path, and whether there are more."""
    return f"{visible(min(paths).relative_to(root).as_posix())}{', ...' if len(paths) > 1 else ''}"


def suffixes(paths: Iterable[Path]) -> str:
    """How many files have which suffix, the most frequent first."""
    counts = Counter(path.suffix.lower() or "no suffix" for path in paths).most_common()
    named = ", ".join(f"{visible(suffix)} {count}" for suffix, count in counts[:MOST])
    return f"{named}, ..." if len(counts) > MOST else named


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
