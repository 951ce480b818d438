"""The trials of a study side by side, in MLflow's UI."""

from collections.abc import Callable

from kdsearch.progress import Progress, Silence
from kdsearch.study.settings import STORAGE


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
    from kdsearch.search.mirroring import mirror_now
    from kdsearch.search.results import study_row
    from kdsearch.tracking.mirror import Mirror
    from kdsearch.tracking.server import serving
    from kdsearch.tracking.uri import tracking_uri as chosen

    found, record = find(study, storage, reading=False)
    uri = chosen(tracking_uri or found.user_attrs.get("tracking_uri"))
    mirror = Mirror(uri, study_row(found), record, (progress or Silence()).say)
    if uri.startswith("http"):
        mirror_now(mirror, found)
        show(mirror.page() or uri)
        return
    mirror.open()  # before the server does: two must not make a new store at once
    with serving(uri, port) as server:
        mirror_now(mirror, found)
        server.wait_until_ready()
        show(mirror.page(server.url) or server.url)
        server.wait()
