"""Look at a study's front, at a network, at the views of a study, at this machine's cache."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kdsearch.progress import Progress, Silence
from kdsearch.tables import STORAGE

if TYPE_CHECKING:
    from kdsearch.inspect.cached import CachedEntry, CacheReport
    from kdsearch.inspect.front import Front
    from kdsearch.inspect.network import NetworkTable
    from kdsearch.inspect.views import ViewsReport


def front(
    study: str | None = None,
    *,
    by: Literal["parameters", "macs"] = "parameters",
    csv: Path | None = None,
    png: Path | None = None,
    force: bool = False,
    storage: str = STORAGE,
) -> "Front":
    """The complete trials of a study, and which are on its front of accuracy over size.

    `csv` and `png` are files to write: all these trials as a table, and a picture; `force` replaces files
    that exist. Raises UsageError, StorageError and NothingFinishedError before a file is written,
    KdsearchError if one cannot be written then.
    """
    from kdsearch.inspect.front import front_of
    from kdsearch.inspect.front_table import check_files, write_table
    from kdsearch.store.studies import find

    csv, png = check_files(csv, png, force=force)
    found = front_of(find(study, storage).study, by)
    if csv:
        write_table(found, csv)
    if png:
        from kdsearch.inspect.front_picture import write_picture

        write_picture(found, png)
    return found


def show(
    what: str, study: str | None = None, *, storage: str = STORAGE, classes: int = 11, image_size: int = 128
) -> "NetworkTable":
    """The layers of trial number `what` of a study, or of the published network of that name.

    Raises UsageError if there is no such trial or network.
    """
    from kdsearch.errors import UsageError
    from kdsearch.inspect.network import of_published, of_trial
    from kdsearch.models.published import PUBLISHED
    from kdsearch.store.studies import find

    if what.isdecimal():
        return of_trial(find(study, storage).study, int(what))
    if what not in PUBLISHED:
        raise UsageError(f"{what!r} is neither a trial's number nor a network: {', '.join(PUBLISHED)}")
    return of_published(what, classes, image_size)


def views(
    study: str | None = None,
    *,
    storage: str = STORAGE,
    data: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> "ViewsReport":
    """Checks this machine's views of a study, and makes some rows again. Raises UsageError, DataError."""
    from kdsearch.inspect.views import look_at_views
    from kdsearch.store.studies import find

    found, record = find(study, storage, reading=False)
    return look_at_views(found, record, progress or Silence(), data=data, on=device)


def cache(*, storage: str = STORAGE) -> "CacheReport":
    """What this machine's cache holds, and which studies in the database need it. Raises StorageError."""
    from kdsearch.inspect.cached import look_at_cache

    return look_at_cache(storage)


def clear_cache(*, storage: str = STORAGE) -> "tuple[CachedEntry, ...]":
    """Removes what no study in the database needs and no living process holds; returns what was removed.

    Raises UsageError if the database has no study, StorageError.
    """
    from kdsearch.inspect.cached import clear_cache as clear

    return clear(storage)
