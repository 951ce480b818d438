"""A study in MLflow: copy it there, and compare its trials."""

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

from kdsearch.progress import Progress, Silence
from kdsearch.tables import ANY, STORAGE, Wanted

if TYPE_CHECKING:
    from kdsearch.mirror.mirror import Mirror
    from kdsearch.mirror.runs import StudyRow
    from kdsearch.store.record import StudyRecord

LOG_PROCESS = "kdsearch.deliver.logged:log_process"


def sync(
    study: str | None = None,
    *,
    storage: str = STORAGE,
    tracking_uri: str | None = None,
    follow: bool = False,
    progress: Progress | None = None,
) -> str:
    """Makes MLflow equal to the study's record, once or until interrupted; returns the study's name.

    Raises MirrorUnavailableError if MLflow does not answer and `follow` is off.
    """
    from kdsearch.mirror.uri import tracking_uri as chosen
    from kdsearch.run.mirror_thread import follow_study
    from kdsearch.run.mirroring import mirror_once
    from kdsearch.run.model_log import ModelLog, ModelRequest
    from kdsearch.store.facts import study_facts
    from kdsearch.store.finalists import winning_run
    from kdsearch.store.studies import find
    from kdsearch.store.trials import Trials

    progress = progress or Silence()
    found = find(study, storage, reading=False)
    name, facts = found.study.study_name, study_facts(found.study)
    uri = chosen(tracking_uri or facts.tracking_uri)
    if follow:
        follow_study(open_mirror, uri, storage, name, progress.say)
    mirror, trials = mirror_once(open_mirror, uri, found, progress.say), Trials.of(found.study)
    best = winning_run(found.study, trials) if len(trials.finished) >= facts.target else None
    if best and (run_id := mirror.awaits_model(best)):
        with closing(ModelLog(LOG_PROCESS)) as model_log:
            model_log.log(ModelRequest(storage, name, uri, run_id), progress)
    return name


def register(
    name: str,
    study: str | None = None,
    *,
    wanted: Wanted = ANY,
    storage: str = STORAGE,
    tracking_uri: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Logs the model of the best trial, or of the one that is wanted, and registers it as `name@champion`.

    Raises UsageError for a name that MLflow refuses, and as `export_best` and `sync`; ReportedError.
    """
    from kdsearch.deliver.winner import find_winner
    from kdsearch.mirror.uri import tracking_uri as chosen
    from kdsearch.run.mirroring import mirror_once
    from kdsearch.run.model_log import ModelLog, ModelRequest
    from kdsearch.store.facts import study_facts
    from kdsearch.store.studies import find

    progress = progress or Silence()
    check_registered_name(name)
    found = find(study, storage, reading=False)
    winner = find_winner(*found, wanted)
    uri = chosen(tracking_uri or study_facts(found.study).tracking_uri)
    run_id = mirror_once(open_mirror, uri, found, progress.say).run_id(winner.run)
    assert run_id is not None, "the mirror has every trial"
    place = ModelRequest(storage, found.study.study_name, uri, run_id, wanted, name)
    with closing(ModelLog(LOG_PROCESS)) as model_log:
        model_log.log(place, progress)


def check_registered_name(name: str) -> None:
    """Raises UsageError for a name that no model can have in MLflow's registry."""
    from kdsearch.errors import UsageError

    if not name.strip() or set(name) & set("/:'"):
        raise UsageError(f"--register {name!r}: MLflow's names of models have no '/', ':' or quote")


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
    from kdsearch.run.mirroring import mirror_once
    from kdsearch.store.facts import study_facts
    from kdsearch.store.studies import find

    found = find(study, storage, reading=False)
    uri = chosen(tracking_uri or study_facts(found.study).tracking_uri)
    say = (progress or Silence()).say
    if uri.startswith("http"):
        show(mirror_once(open_mirror, uri, found, say).page() or uri)
        return
    with serving(uri, port) as server:  # while MLflow is loaded there, it is loaded and filled here
        mirror = mirror_once(open_mirror, uri, found, say)
        server.wait_until_ready()
        show(mirror.page(server.url) or server.url)
        server.wait()


def open_mirror(
    uri: str | None, study: "StudyRow", record: "StudyRecord", say: Callable[[str], None]
) -> "Mirror":
    """A mirror at `uri`, or at the default one. Raises UsageError if that is no store."""
    from kdsearch.mirror.mirror import Mirror
    from kdsearch.mirror.uri import tracking_uri

    return Mirror(tracking_uri(uri), study, record, say)
