"""The files among a user's images that are not read, and the words of the note about them."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from kdsearch.names import visible

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
