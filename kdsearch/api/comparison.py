"""The trials of a study side by side, in MLflow's UI."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kdsearch.progress import Progress, Silence
from kdsearch.tables import STORAGE

if TYPE_CHECKING:
    from kdsearch.mirror.mirror import Mirror
    from kdsearch.store.studies import Found


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
    from kdsearch.mirror.server import serving
    from kdsearch.mirror.uri import tracking_uri as chosen
    from kdsearch.store.facts import study_facts
    from kdsearch.store.studies import find

    found = find(study, storage, reading=False)
    uri = chosen(tracking_uri or study_facts(found.study).tracking_uri)
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
    from kdsearch.mirror.mirror import Mirror
    from kdsearch.mirror.study_rows import study_row
    from kdsearch.run.mirror_thread import mirror_now
    from kdsearch.store.facts import study_facts
    from kdsearch.store.trials import Trials

    study, trials = found.study, Trials.of(found.study)
    row = study_row(study.study_name, study_facts(study), trials)
    mirror = Mirror(uri, row, found.record, say)
    mirror_now(mirror, study, trials)
    return mirror
