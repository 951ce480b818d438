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
    from kdsearch.mirror.mirror import Mirror
    from kdsearch.mirror.server import serving
    from kdsearch.mirror.study_rows import study_row
    from kdsearch.mirror.uri import tracking_uri as chosen
    from kdsearch.run.mirror_thread import mirror_now
    from kdsearch.store.facts import study_facts
    from kdsearch.store.studies import find
    from kdsearch.store.trials import Trials

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
