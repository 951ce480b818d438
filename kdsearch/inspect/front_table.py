"""The table of a study's complete trials as a file, and the check of all files of a front."""

import csv
from pathlib import Path

from kdsearch.errors import UsageError
from kdsearch.files import check_out, replacing
from kdsearch.inspect.front import Front, FrontRow

CURE = "free some disk, or name another file"


def check_files(table: Path | None, picture: Path | None, *, force: bool) -> tuple[Path | None, Path | None]:
    """Their full paths. Raises UsageError if one is there and not to be replaced, or cannot be written."""
    table = table and check_out(table, "--csv", force=force, make_folder=False)
    picture = picture and check_out(picture, "--png", force=force, make_folder=False)
    if table and table == picture:
        raise UsageError(f"--png {picture}: is the file of --csv too; name another")
    return table, picture


def write_table(front: Front, path: Path) -> None:
    """A row for each complete trial, smallest first; the columns are the fields of FrontRow.

    Raises KdsearchError if the file cannot be written; then nothing has changed.
    """
    with (
        replacing(path, "front", CURE, option="--csv") as whole,
        whole.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        table = csv.DictWriter(stream, list(FrontRow.model_fields), lineterminator="\n")
        table.writeheader()
        table.writerows(row.model_dump() for row in front.rows)
