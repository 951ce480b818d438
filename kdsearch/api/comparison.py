"""The trials of a study side by side, in MLflow's UI."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kdsearch.api.studies import STORAGE
from kdsearch.progress import Progress, Silence

if TYPE_CHECKING:
    from kdsearch.search.lookup import Found
    from kdsearch.tracking.mirror import Mirror


def ui(
    study: str | None = None,
    *,
    storage: str = STORAGE,
    tracking_uri: str | None = None,
    port: int | None = None,
    show: Callable[[str], None],
    progress: Progress | None = None,
) -> None:
    """Brings MLflow up to date, gives `show` the address of the comparison, and serves it until stopped.

    A tracking server that runs already is left alone: the address is its own. Raises UsageError,
    StorageError, MirrorUnavailableError, ServerError.
    """
    from kdsearch.search.lookup import find
    from kdsearch.tracking.server import serving
    from kdsearch.tracking.uri import tracking_uri as chosen

    found = find(study, storage, reading=False)
    uri = chosen(tracking_uri or found.study.user_attrs.get("tracking_uri"))
    say = (progress or Silence()).say
    if uri.startswith("http"):
        show(_mirrored(found, uri, say).page() or uri)
        return
    with serving(uri, port) as server:  # while MLflow is loaded there, it is loaded and filled here
        mirror = _mirrored(found, uri, say)
        server.wait_until_ready()
        show(mirror.page(server.url) or server.url)
        server.wait()


def _mirrored(found: "Found", uri: str, say: Callable[[str], None]) -> "Mirror":
    """A mirror after one tick."""
    from kdsearch.search.mirroring import mirror_now
    from kdsearch.search.results import study_row
    from kdsearch.tracking.mirror import Mirror

    mirror = Mirror(uri, study_row(found.study), found.record, say)
    mirror_now(mirror, found.study)
    return mirror
