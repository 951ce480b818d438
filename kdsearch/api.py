"""The public Python interface: Records in, Records out; all that the commands use.

Each function imports what it needs when it is called, so that `kdsearch --help` loads none of it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from kdsearch.progress import Progress, Silence, Watch
from kdsearch.search.overrides import Overrides as Overrides
from kdsearch.search.overrides import request as _request

if TYPE_CHECKING:
    from kdsearch.deliver.network import NetworkTable as NetworkTable
    from kdsearch.deliver.views import ViewsReport as ViewsReport
    from kdsearch.deliver.winner import Exported as Exported
    from kdsearch.deliver.winner import Trained as Trained
    from kdsearch.search.audit import Audit as Audit
    from kdsearch.search.ledger import Ledger as Ledger
    from kdsearch.search.mirroring import Mirroring
    from kdsearch.search.results import Ranked as Ranked
    from kdsearch.search.results import Status as Status
    from kdsearch.search.results import Summary as Summary
    from kdsearch.search.teaching import TeacherReport as TeacherReport
    from kdsearch.search.teaching import Teachers as Teachers
    from kdsearch.study.shipped import ShippedStudy as ShippedStudy
    from kdsearch.tracking.record import StudyRecord
    from kdsearch.tracking.runs import StudyRow

STORAGE = "sqlite:///kdsearch.db"
LOG_PROCESS = "kdsearch.deliver.logged:log_process"


def run(
    study: str = "digits",
    *,
    trials: int | None = None,
    overrides: Overrides | None = None,
    watch: Watch | None = None,
) -> "Summary":
    """Searches `study`, a shipped study's name or a TOML file, until `trials` are finished.

    Raises StudyFileError, IdentityError, DataError, TeacherError or StorageError before anything is trained,
    SearchError or ReportedError when too much fails, StoppedError after SIGINT or SIGTERM.
    """
    from kdsearch.search.model_log import ModelLog
    from kdsearch.search.supervisor import supervise
    from kdsearch.tracking.uri import how_to_compare, tracking_uri

    given, watch = overrides or Overrides(), watch or Silence()
    tracking_uri(given.tracking_uri)
    with ModelLog(LOG_PROCESS) as model_log:
        summary = supervise(_request(study, given, trials=trials), watch, _open_mirror, model_log)
        uri = tracking_uri(summary.tracking_uri)
        if summary.best_run_id:
            where = summary.storage, summary.study, uri, summary.best_run_id
            seconds = model_log.log(*where, watch)
            parts = {**summary.seconds, "model to MLflow": seconds, "all": summary.seconds["all"] + seconds}
            summary = summary.model_copy(update={"seconds": parts})
    return summary.model_copy(update={"compare": how_to_compare(uri)})


def train(
    recipe: str, *, overrides: Overrides | None = None, test: bool = True, watch: Watch | None = None
) -> "tuple[Summary, Trained]":
    """A study of one trial, called NAME-train; then what the test split says of its student.

    Of what `recipe` searches it takes the first loss that is listed, and the defaults. Raises as `run`.
    """
    from kdsearch.deliver.winner import judge_best
    from kdsearch.search.lookup import find
    from kdsearch.study.file import load_study

    given, watch = overrides or Overrides(), watch or Silence()
    if not given.name and "name" not in _request(recipe, given).settings:
        given = given.model_copy(update={"name": f"{Path(recipe).stem}-train"})
    summary = run(recipe, trials=1, overrides=given, watch=watch)
    found, record = find(summary.study, summary.storage)
    summary = summary.model_copy(update={"notes": ()})  # of how a search would go on
    published = load_study(recipe, _request(recipe, given).replaced_values()).published
    return summary, judge_best(found, record, published, watch, test=test, data=given.data)


def join(study: str, *, overrides: Overrides | None = None, watch: Watch | None = None) -> "Summary":
    """Works on a study that exists in the storage, beside others; mirrors nothing. Raises as `run`."""
    from kdsearch.search.supervisor import supervise

    return supervise(_request(study, overrides or Overrides(), join=True), watch or Silence(), None)


def create(
    study: str, *, trials: int | None = None, overrides: Overrides | None = None, watch: Watch | None = None
) -> "Summary":
    """Creates a study, its tables and its teacher, and trains no student. Raises as `run`."""
    from kdsearch.search.supervisor import supervise

    request = _request(study, overrides or Overrides(), trials=trials, views=False)
    return supervise(request, watch or Silence(), None)


def status(study: str | None = None, *, storage: str = STORAGE) -> "Status":
    """How a study stands; without a name the only one, or the most recently run.

    Raises UsageError, StorageError.
    """
    from kdsearch.search import results
    from kdsearch.search.lookup import find

    return results.status(find(study, storage).study)


def studies() -> "list[ShippedStudy]":
    """The study files that come with kdsearch."""
    from kdsearch.study.shipped import shipped_studies

    return shipped_studies()


def show(
    what: str, study: str | None = None, *, storage: str = STORAGE, classes: int = 11, image_size: int = 128
) -> "NetworkTable":
    """The layers of trial number `what` of a study, or of the published network of that name.

    Raises UsageError where there is no such thing.
    """
    from kdsearch.deliver.network import of_published, of_trial
    from kdsearch.errors import UsageError
    from kdsearch.models.published import PUBLISHED
    from kdsearch.search.lookup import find

    if what.isdecimal():
        return of_trial(find(study, storage).study, int(what))
    if what not in PUBLISHED:
        raise UsageError(f"{what!r} is no trial's number and no network; networks: {', '.join(PUBLISHED)}")
    return of_published(what, classes, image_size)


def export_best(
    study: str | None = None,
    *,
    storage: str = STORAGE,
    out: Path | None = None,
    force: bool = False,
    test: bool = True,
    data: str | None = None,
    progress: Progress | None = None,
) -> "Exported":
    """Writes the best student so far to `out` (`best/STUDY`) in all forms, each loaded back and compared.

    Raises NothingFinishedError, UsageError where `out` is not empty and `force` is off, ExportError.
    """
    from kdsearch.deliver import winner
    from kdsearch.search.lookup import find

    found, record = find(study, storage)
    folder = out or Path("best", found.study_name)
    return winner.export_best(found, record, folder, progress or Silence(), force=force, test=test, data=data)


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


def delete(study: str, *, storage: str = STORAGE, tracking_uri: str | None = None) -> list[str]:
    """Removes a study: trials, record, files, checkpoints here; marks its MLflow runs deleted.

    Returns what could not be done. Raises UsageError where there is no such study.
    """
    from kdsearch.errors import KdsearchError
    from kdsearch.search.lookup import find, remove_study
    from kdsearch.search.results import study_row
    from kdsearch.search.state import delete_checkpoints
    from kdsearch.tracking.mirror import Mirror
    from kdsearch.tracking.uri import tracking_uri as chosen

    found, record = find(study, storage)
    left = []
    try:
        uri = chosen(tracking_uri or found.user_attrs.get("tracking_uri"))
        Mirror(uri, study_row(found), record).delete_runs()
    except KdsearchError as error:
        left.append(f"{error}; the study's runs stay in MLflow")
    delete_checkpoints(storage, study)
    record.delete()
    remove_study(found)  # last: a delete that was broken off can be repeated
    return left


def sync(
    study: str | None = None,
    *,
    storage: str = STORAGE,
    tracking_uri: str | None = None,
    follow: bool = False,
    progress: Progress | None = None,
) -> str:
    """Makes MLflow equal to the study's record, once or until interrupted; returns the study's name.

    Raises MirrorUnavailableError where MLflow does not answer and `follow` is off.
    """
    from kdsearch.search.lookup import find
    from kdsearch.search.mirroring import follow_study, mirror_once
    from kdsearch.search.model_log import ModelLog
    from kdsearch.search.results import finished_count
    from kdsearch.tracking.uri import tracking_uri as chosen

    progress = progress or Silence()
    found, _ = find(study, storage)
    name, uri = found.study_name, chosen(tracking_uri or found.user_attrs.get("tracking_uri"))
    if follow:
        follow_study(_open_mirror, uri, storage, name, progress.say)
    run_id = mirror_once(_open_mirror, uri, storage, found)
    if run_id and finished_count(found) >= found.user_attrs["target"]:
        with ModelLog(LOG_PROCESS) as model_log:
            model_log.log(storage, name, uri, run_id, progress)
    return name


def train_teachers(
    study: str,
    *,
    overrides: Overrides | None = None,
    teacher: str | None = None,
    out: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> "list[TeacherReport]":
    """Trains a study's teachers, or the one named, into the cache and to `out`; creates no study.

    Raises StudyFileError, DataError, TeacherError, UsageError.
    """
    from kdsearch.search import teaching

    target = teaching.Target(out, force) if out else None
    return teaching.train_teachers(
        _request(study, overrides or Overrides()), teacher, target, progress or Silence()
    )


def import_teacher(
    file: Path,
    study: str,
    *,
    overrides: Overrides | None = None,
    teacher: str | None = None,
    out: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> "TeacherReport":
    """Reads `file` as a study's teacher, scores it, writes it to `out` or beside it. Raises as above."""
    from kdsearch.search import teaching

    target = teaching.Target(out or file.parent / f"{file.stem}{teaching.SUFFIX}", force)
    request = _request(study, overrides or Overrides())
    return teaching.import_teacher(file, request, teacher, target, progress or Silence())


def evaluate_teachers(
    study: str,
    *,
    overrides: Overrides | None = None,
    teacher: str | None = None,
    progress: Progress | None = None,
) -> "list[TeacherReport]":
    """Scores a study's teachers as they are; trains none. Raises as above."""
    from kdsearch.search import teaching

    request = _request(study, overrides or Overrides())
    return teaching.evaluate_teachers(request, teacher, progress or Silence())


def teachers() -> "Teachers":
    """Torchvision's classifiers, and the teachers in the cache."""
    from kdsearch.search import teaching

    return teaching.list_teachers()


def _open_mirror(uri: str | None, study: "StudyRow", record: "StudyRecord") -> "Mirroring":
    from kdsearch.tracking.mirror import Mirror
    from kdsearch.tracking.uri import tracking_uri

    return Mirror(tracking_uri(uri), study, record)
