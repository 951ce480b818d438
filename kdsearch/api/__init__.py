"""The public Python interface: Records in, Records out; all that the commands use.

A module a noun. Each function imports what it needs when it is called, so that `kdsearch --help` loads none
of it.
"""

from typing import TYPE_CHECKING

from kdsearch.api.machine import cache as cache
from kdsearch.api.machine import clear_cache as clear_cache
from kdsearch.api.machine import views as views
from kdsearch.api.mirror import sync as sync
from kdsearch.api.mirror import ui as ui
from kdsearch.api.outcomes import export_best as export_best
from kdsearch.api.outcomes import show as show
from kdsearch.api.studies import create as create
from kdsearch.api.studies import delete as delete
from kdsearch.api.studies import join as join
from kdsearch.api.studies import run as run
from kdsearch.api.studies import shipped_studies as shipped_studies
from kdsearch.api.studies import status as status
from kdsearch.api.studies import train as train
from kdsearch.api.teachers import evaluate_teachers as evaluate_teachers
from kdsearch.api.teachers import import_teacher as import_teacher
from kdsearch.api.teachers import list_teachers as list_teachers
from kdsearch.api.teachers import train_teachers as train_teachers
from kdsearch.study.settings import STORAGE as STORAGE

if TYPE_CHECKING:
    from kdsearch.deliver.export import Exported as Exported
    from kdsearch.deliver.winner import Trained as Trained
    from kdsearch.inspect.cached import CachedEntry as CachedEntry
    from kdsearch.inspect.cached import CacheReport as CacheReport
    from kdsearch.inspect.network import NetworkTable as NetworkTable
    from kdsearch.inspect.views import ViewsReport as ViewsReport
    from kdsearch.store.audit import Audit as Audit
    from kdsearch.store.ledger import Ledger as Ledger
    from kdsearch.store.status import Ranked as Ranked
    from kdsearch.store.status import Status as Status
    from kdsearch.store.status import Summary as Summary
    from kdsearch.study.shipped import ShippedStudy as ShippedStudy
    from kdsearch.teachers.commands import TeacherReport as TeacherReport
    from kdsearch.teachers.commands import Teachers as Teachers
