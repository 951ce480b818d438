"""What lies on this machine: the views of a study."""

from typing import TYPE_CHECKING

from kdsearch.api.studies import STORAGE
from kdsearch.progress import Progress, Silence

if TYPE_CHECKING:
    from kdsearch.deliver.views import ViewsReport


def views(
    study: str | None = None,
    *,
    storage: str = STORAGE,
    data: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> "ViewsReport":
    """The views that this machine has of a study; some rows are made again. Raises UsageError, DataError."""
    from kdsearch.deliver.views import look_at_views
    from kdsearch.search.lookup import find

    found, record = find(study, storage)
    return look_at_views(found, record, progress or Silence(), data=data, on=device)
