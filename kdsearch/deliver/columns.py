"""The table of predictions: its columns, its rows, and its file, which is there as a whole or not at all."""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO

import numpy as np

from kdsearch.config import Record
from kdsearch.errors import DataError, UsageError
from kdsearch.files import replacing

UNREADABLE = "unreadable"  # in place of a class

Write = Callable[[int, Path, np.ndarray | None], None]


class Columns(Record):
    """What a row says of an image, beside its most probable class."""

    id: Literal["stem", "number", "path"] = "stem"  # the number counts from 0
    names: bool = False  # of the classes, not their numbers
    top: int = 1  # so many classes, the most probable first
    probabilities: bool = False  # of all classes

    def check(self, classes: Sequence[str]) -> None:
        """Raises UsageError if there are fewer classes than asked for."""
        if self.top > len(classes):
            raise UsageError(f"--top {self.top}: the export has {len(classes)} classes")

    def id_of(self, index: int, path: Path) -> str:
        """The Id of the image at `path` in the folder, the `index`th there."""
        return {"stem": path.stem, "number": str(index), "path": path.as_posix()}[self.id]

    def head(self, classes: Sequence[str], *, mirrored: bool) -> list[str]:
        """The names of the columns."""
        more = [f"Category {place}" for place in range(2, self.top + 1)]
        views = "mirrored " if mirrored else ""
        shares = [f"{views}p({name})" for name in classes] if self.probabilities else []
        return ["Id", "Category", *more, *shares]


def rows_to(stream: TextIO, columns: Columns, classes: Sequence[str], *, mirrored: bool) -> Write:
    """Writes the head; returns what writes the row of an image, with no probabilities if it is unreadable."""
    table = csv.writer(stream, lineterminator="\n")
    head = columns.head(classes, mirrored=mirrored)
    table.writerow(head)

    def write(index: int, path: Path, shares: np.ndarray | None) -> None:
        row = [columns.id_of(index, path)]
        if shares is None:
            row += [UNREADABLE] * columns.top
        else:
            best = np.argsort(-shares, kind="stable")[: columns.top].tolist()
            row += [classes[each] if columns.names else str(each) for each in best]
            row += [f"{share:.6f}" for share in shares] if columns.probabilities else []
        table.writerow([*row, *[""] * (len(head) - len(row))])

    return write


def check_ids(files: Sequence[Path], root: Path, columns: Columns) -> None:
    """Raises DataError for two images with one Id."""
    known: dict[str, Path] = {}
    for index, file in enumerate(files):
        name = columns.id_of(index, file.relative_to(root))
        if (other := known.setdefault(name, file)) is not file:
            raise DataError(
                f"{other} and {file}: two images with the Id {name!r}; --id path or --id number tells them "
                "apart"
            )


@contextmanager
def written_at_once(out: Path) -> Iterator[TextIO]:
    """A file that is put in place at the end, if all went well. Raises KdsearchError if it cannot be."""
    with (
        replacing(out, "predict", "free some disk, or name another file") as whole,
        whole.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        yield stream
