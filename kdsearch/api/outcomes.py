"""The results of a study: its networks, and the export of the best one."""

from pathlib import Path
from typing import TYPE_CHECKING

from kdsearch.progress import Progress, Silence
from kdsearch.study.settings import STORAGE

if TYPE_CHECKING:
    from kdsearch.deliver.export import Exported
    from kdsearch.inspect.network import NetworkTable


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

    Raises NothingFinishedError, ExportError, and UsageError if `out` holds files that may not be replaced.
    """
    from kdsearch.deliver import export
    from kdsearch.errors import UsageError
    from kdsearch.names import study_name_fault
    from kdsearch.store.studies import find

    found, record = find(study, storage)
    folder = out or Path("best", found.study_name)
    if out is None and study_name_fault(found.study_name):  # of an earlier version; '..' was allowed
        raise UsageError(f"study {found.study_name!r}: no folder can have its name; name a folder with --out")
    return export.export_best(found, record, folder, progress or Silence(), force=force, test=test, data=data)
