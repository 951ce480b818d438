"""The public Python interface: Records in, Records out; all that the commands use.

A module a noun. Each function imports what it needs when it is called, so that `kdsearch --help` loads none
of it.
"""

from typing import TYPE_CHECKING

from kdsearch.api.inspection import cache, clear_cache, front, show, views
from kdsearch.api.mirror import check_registered_name, register, sync, ui
from kdsearch.api.predictions import predict
from kdsearch.api.studies import (
    create,
    delete,
    export_best,
    finalize,
    join,
    replay,
    run,
    shipped_studies,
    status,
    train,
)
from kdsearch.api.teachers import evaluate_teachers, import_teacher, list_teachers, train_teachers
from kdsearch.tables import STORAGE, Form, Wanted

if TYPE_CHECKING:
    from kdsearch.deliver.export import Exported
    from kdsearch.deliver.predict import Predicted
    from kdsearch.deliver.winner import Trained
    from kdsearch.inspect.cached import CachedEntry, CacheReport
    from kdsearch.inspect.front import Front, FrontRow
    from kdsearch.inspect.network import NetworkTable
    from kdsearch.inspect.views import ViewsReport
    from kdsearch.store.finalist_table import FinalistRow, FinalistTable
    from kdsearch.store.replayed import Replayed
    from kdsearch.store.status import Audit, Ledger, Ranked, Status, Summary
    from kdsearch.study.shipped import ShippedStudy
    from kdsearch.teachers.commands import TeacherReport, Teachers
