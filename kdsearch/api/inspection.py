"""Look at a network, at the views of a study, at this machine's cache."""

from typing import TYPE_CHECKING

from kdsearch.progress import Progress, Silence
from kdsearch.tables import STORAGE

if TYPE_CHECKING:
    from kdsearch.inspect.cached import CachedEntry, CacheReport
    from kdsearch.inspect.network import NetworkTable
    from kdsearch.inspect.views import ViewsReport


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
