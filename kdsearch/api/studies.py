"""Run, join, create and remove studies; their state, and the export of the best student."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdsearch.api.mirror import LOG_PROCESS, open_mirror
from kdsearch.progress import Progress, Silence, Watch
from kdsearch.run.protocol import Request
from kdsearch.tables import ANY, STORAGE, Wanted

if TYPE_CHECKING:
    from kdsearch.deliver.export import Exported
    from kdsearch.deliver.winner import Trained
    from kdsearch.store.replayed import Replayed
    from kdsearch.store.status import Status, Summary
    from kdsearch.study.shipped import ShippedStudy


def run(study: str = "digits", *, values: Mapping[str, Any] = {}, watch: Watch | None = None) -> "Summary":
    """Searches `study`, a shipped study's name or a TOML file, until its trials are finished.

    `values` replace the file's, by their `table.key`, as in `{"run.trials": 50, "seed": 3}`. Raises
    StudyFileError, IdentityError, DataError, TeacherError or StorageError before anything is trained,
    SearchError or ReportedError when too much fails, StoppedError after SIGINT or SIGTERM.
    """
    return _mirrored(Request(study=study, values=values), watch or Silence())


def finalize(
    study: str | None = None, *, values: Mapping[str, Any] = {}, watch: Watch | None = None
) -> "Summary":
    """Trains the finalists of a study whose search is over; without a name of the most recently run one.

    `values` replace how many there were in the latest run, as in `{"finalists.count": 5}`, and where the
    study and its images are. What is trained stays. Raises as `run`.
    """
    from kdsearch.store.studies import find

    name = find(study, values.get("run.storage", STORAGE)).study.study_name
    return _mirrored(Request(study=name, values=values, join=True, finalize=True), watch or Silence())


def _mirrored(request: Request, watch: Watch) -> "Summary":
    """Runs what is asked for, copies it to MLflow, and logs the best model there at the end."""
    from kdsearch.mirror.uri import how_to_compare, how_to_load, tracking_uri
    from kdsearch.run.model_log import ModelLog, ModelRequest
    from kdsearch.run.supervisor import Supervisor
    from kdsearch.store.facts import study_facts
    from kdsearch.store.studies import find

    with closing(ModelLog(LOG_PROCESS)) as model_log:
        summary = Supervisor(request, watch, open_mirror, model_log).run()
        uri = tracking_uri(summary.tracking_uri)
        if summary.best_run_id:
            place = ModelRequest(summary.storage, summary.study, uri, summary.best_run_id)
            seconds = model_log.log(place, watch)
            parts = {**summary.seconds, "model to MLflow": seconds, "all": summary.seconds["all"] + seconds}
            summary = summary.model_copy(update={"seconds": parts})
    found = find(summary.study, summary.storage).study
    compare = how_to_compare(uri, study_facts(found).comparison, found.study_name)
    return summary.model_copy(update={"compare": compare, "loading": how_to_load(found)})


def train(
    recipe: str, *, values: Mapping[str, Any] = {}, test: bool = True, watch: Watch | None = None
) -> "tuple[Summary, Trained]":
    """Runs a study of one trial, called NAME-train, then scores its student on the test split.

    For the fields that `recipe` searches it uses the first listed loss and the defaults. Raises as `run`.
    """
    values, watch = {"name": f"{Path(recipe).stem}-train", **values}, watch or Silence()
    values |= {"run.trials": 1, "finalists.count": 0}
    summary = run(recipe, values=values, watch=watch)

    from kdsearch.deliver.winner import judge_best  # after the run, whose supervisor holds no tensors
    from kdsearch.store.studies import find
    from kdsearch.study.file import load_study

    found, record = find(summary.study, summary.storage)
    summary = summary.model_copy(update={"notes": ()})  # of how a search would go on
    published = load_study(recipe, values).published
    return summary, judge_best(found, record, published, watch, test=test, data=values.get("data.path"))


def join(study: str, *, values: Mapping[str, Any] = {}, watch: Watch | None = None) -> "Summary":
    """Trains trials of a study in the storage, beside other workers; mirrors nothing. Raises as `run`."""
    from kdsearch.run.supervisor import Supervisor

    return Supervisor(Request(study=study, values=values, join=True), watch or Silence()).run()


def create(study: str, *, values: Mapping[str, Any] = {}, watch: Watch | None = None) -> "Summary":
    """Creates a study, its tables and its teacher, and trains no student. Raises as `run`."""
    from kdsearch.run.supervisor import Supervisor

    return Supervisor(Request(study=study, values=values, views=False), watch or Silence()).run()


def replay(
    trial: int,
    study: str | None = None,
    *,
    values: Mapping[str, Any] = {},
    keep: bool = False,
    watch: Watch | None = None,
) -> "Replayed":
    """Trains a trial of the search again; says whether all its recorded epochs are bitwise the same.

    Nothing of the study changes, but that `keep` stores the weights of a complete trial that the database has
    no longer, if they are the same. `values` say where the study and its images are, and on which device.
    Raises UsageError for a trial without recorded epochs, and as `run`.
    """
    from kdsearch.run import replaying

    return replaying.replay(trial, study, values, watch or Silence(), keep=keep)


def status(study: str | None = None, *, storage: str = STORAGE) -> "Status":
    """The state of a study; without a name of the only one, or of the most recently run.

    Raises UsageError, StorageError.
    """
    from kdsearch.mirror.uri import how_to_compare
    from kdsearch.store import status as standing
    from kdsearch.store.facts import study_facts
    from kdsearch.store.finalists import candidates, has_finalists
    from kdsearch.store.runs import FINALISTS, SEARCH
    from kdsearch.store.studies import find
    from kdsearch.store.trials import Trials

    found = find(study, storage).study
    facts = study_facts(found)
    compare = how_to_compare(facts.tracking_uri, facts.comparison, found.study_name)
    wanted = has_finalists(facts)
    targets = {SEARCH: facts.target, FINALISTS: len(candidates(facts, Trials.of(found)))} if wanted else {}
    return standing.status(found, compare, targets)


def export_best(
    study: str | None = None,
    *,
    storage: str = STORAGE,
    out: Path | None = None,
    wanted: Wanted = ANY,
    force: bool = False,
    test: bool = True,
    data: str | None = None,
    progress: Progress | None = None,
) -> "Exported":
    """Writes the best student so far to `out` (`best/STUDY`), each form loaded back and compared.

    Raises NothingFinishedError, ExportError, and UsageError if no trial is as wanted, or if `out` holds files
    that may not be replaced.
    """
    from kdsearch.deliver import export
    from kdsearch.errors import UsageError
    from kdsearch.names import study_name_fault
    from kdsearch.store.studies import find

    found, record = find(study, storage)
    folder = out or Path("best", found.study_name)
    if out is None and study_name_fault(found.study_name):  # of an earlier version; '..' was allowed
        raise UsageError(f"study {found.study_name!r}: no folder can have its name; name a folder with --out")
    return export.export_best(
        found,
        record,
        folder,
        progress or Silence(),
        wanted=wanted,
        force=force,
        test=test,
        data=data,
    )


def shipped_studies() -> "list[ShippedStudy]":
    """The study files that come with kdsearch."""
    from kdsearch.study import shipped

    return shipped.shipped_studies()


def delete(
    study: str, *, storage: str = STORAGE, tracking_uri: str | None = None, force: bool = False
) -> list[str]:
    """Removes a study: trials, record, files, checkpoints here; marks its MLflow runs deleted.

    Returns a line for each step that failed. Raises UsageError if there is no such study, or, unless `force`,
    if processes work on it.
    """
    from kdsearch.errors import KdsearchError
    from kdsearch.mirror.mirror import Mirror
    from kdsearch.mirror.study_rows import study_row
    from kdsearch.mirror.uri import tracking_uri as chosen
    from kdsearch.store.checkpoints import delete_checkpoints
    from kdsearch.store.facts import study_facts
    from kdsearch.store.studies import check_idle, find, remove_study
    from kdsearch.store.trials import Trials

    found, record = find(study, storage, reading=False)
    if not force:
        check_idle(found)
    left, facts = [], study_facts(found)
    try:
        uri = chosen(tracking_uri or facts.tracking_uri)
        Mirror(uri, study_row(study, facts, Trials.of(found)), record).delete_runs()
    except KdsearchError as error:
        left.append(f"{error}; the study's runs stay in MLflow")
    delete_checkpoints(record, storage)
    remove_study(found, record)
    return left
