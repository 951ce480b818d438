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
    """Updates MLflow, calls `show` with the address of the comparison, and serves it until stopped.

    If the runs are on a tracking server, the address is there and this starts no server. Raises UsageError,
    StorageError, MirrorUnavailableError, ServerError.
    """
    from kdsearch.search.mirroring import mirror_now
    from kdsearch.store.facts import study_facts
    from kdsearch.store.studies import find
    from kdsearch.store.trials import Trials
    from kdsearch.tracking.mirror import Mirror
    from kdsearch.tracking.server import serving
    from kdsearch.tracking.study_rows import study_row
    from kdsearch.tracking.uri import tracking_uri as chosen

    found, record = find(study, storage, reading=False)
    facts, trials = study_facts(found), Trials.of(found)
    uri = chosen(tracking_uri or facts.tracking_uri)
    mirror = Mirror(uri, study_row(found.study_name, facts, trials), record, (progress or Silence()).say)
    if uri.startswith("http"):
        mirror_now(mirror, found, trials)
        show(mirror.page() or uri)
        return
    mirror.open()  # before the server does: two must not make a new store at once
    with serving(uri, port) as server:
        mirror_now(mirror, found, trials)
        server.wait_until_ready()
        show(mirror.page(server.url) or server.url)
        server.wait()
