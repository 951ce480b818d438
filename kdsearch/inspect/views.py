"""Lists and checks this machine's views of a study."""

from collections.abc import Sequence
from pathlib import Path

import optuna

from kdsearch.cache import check
from kdsearch.config import Record
from kdsearch.data.sources import load_search_sets
from kdsearch.device import choose_device
from kdsearch.errors import CacheDamagedError, UsageError
from kdsearch.progress import Progress
from kdsearch.run.views import bank_of, builder_of
from kdsearch.store.facts import study_facts
from kdsearch.store.identity import check_data, study_at
from kdsearch.store.record import StudyRecord
from kdsearch.teachers.ready import prepare_teachers
from kdsearch.views.bank import ViewBank

ROWS = 64  # that are made again
# In float32 half precision and another order of sums stay at 0.002. In bfloat16, as on CUDA, rounding alone
# moves a logit by 0.005, and fewer rows may take other kernels. Another teacher is 1 away.
TOLERANCE, ROUNDED = 0.01, 0.05


class ViewsReport(Record):
    """The views that exist, and the difference between one of them and the same view made again."""

    study: str
    folder: Path
    count: int  # that the study wants
    made: tuple[int, ...]
    size: int  # bytes of those made
    checked: int | None = None  # the view of which some rows were made again; all are proved by their sums
    gap: float | None = None  # of a logit, over the largest or 1


def look_at_views(
    optuna_study: optuna.Study, record: StudyRecord, progress: Progress, *, data: str | None, on: str
) -> ViewsReport:
    """Lists the views made on the device `on`, checks all, and makes ROWS rows of the last again.

    This uses the study's own teachers. Raises UsageError before these exist, and if the rows differ;
    CacheDamagedError for views whose files have changed.
    """
    study = study_at(optuna_study, data)
    if study_facts(optuna_study).teachers is None:
        raise UsageError(f"study {study.name!r} has no views yet; 'kdsearch run' makes them")
    device = choose_device(on)
    sets = load_search_sets(study.data, study.seed, progress)
    check_data(optuna_study, study.name, sets.fingerprint)
    ready = prepare_teachers(study, sets, record, device, progress)
    bank = bank_of(study, optuna_study, sets, ready, device)
    numbers = tuple(number for number in range(bank.count) if bank.exists(number))
    _prove(bank, numbers, progress)
    report = ViewsReport(
        study=study.name,
        folder=bank.folder,
        count=bank.count,
        made=numbers,
        size=sum(file.stat().st_size for number in numbers for file in bank.path(number).iterdir()),
    )
    if not numbers:
        return report
    gap = builder_of(study, sets, bank, ready).gap(numbers[-1], ROWS)
    rounded = device.type == "cuda" or any(each.bfloat16 for each in bank.teachers.values())
    if not gap <= (ROUNDED if rounded else TOLERANCE):
        raise UsageError(
            f"{bank.path(numbers[-1])}: not what images, augmentation and teachers make (a logit differs by "
            f"{gap:.2g}); remove {bank.folder}, and 'kdsearch run' makes the views anew"
        )
    return report.model_copy(update={"checked": numbers[-1], "gap": gap})


def _prove(bank: ViewBank, numbers: Sequence[int], progress: Progress) -> None:
    damaged = []
    for done, number in enumerate(numbers):
        progress.step("views checked", done, len(numbers))
        try:
            check(bank.path(number), wholly=True)
        except CacheDamagedError as error:
            damaged.append(str(error))
    progress.step("views checked", len(numbers), len(numbers))
    if damaged:
        which = (
            f"{len(damaged)} of {len(numbers)} views are damaged" if len(damaged) > 1 else "a view is damaged"
        )
        raise CacheDamagedError(f"{which}: {', '.join(damaged)}; 'kdsearch run' makes it anew")
