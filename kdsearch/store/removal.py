"""A study, removed with all that it wrote."""

import time
from contextlib import suppress

import optuna
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from kdsearch.errors import OutageError, StorageError, StudyDeletedError, UsageError
from kdsearch.store.facts import study_facts
from kdsearch.store.liveness import is_alive, living, worker_of
from kdsearch.store.record import StudyRecord
from kdsearch.store.storage import grace_seconds
from kdsearch.store.studies import with_phases
from kdsearch.store.trials import Trials

ATTEMPTS = 5  # a row that a worker adds in the same moment makes PostgreSQL refuse


def check_idle(study: optuna.Study) -> None:
    """Raises UsageError where a process works on the study, or may do so on another machine."""
    facts = study_facts(study)
    workers = [worker_of(trial) for own in with_phases(study) for trial in living(own, Trials.of(own))]
    silence = time.time() - facts.last_run
    if facts.preparing and is_alive(facts.preparing, silent=silence > grace_seconds()):
        workers.append(facts.preparing)
    if workers:
        named = {f"process {each.pid} on {each.host}" for each in workers if each}
        raise UsageError(
            f"study {study.study_name!r} is in use ({', '.join(sorted(named)) or 'by a worker'}); "
            "stop these processes first, or remove the study with --force"
        )


def remove_study(study: optuna.Study, record: StudyRecord) -> None:
    """Deletes the study's record, then the study with its trials: a removal broken off can be repeated."""
    record.delete()
    refused = Retrying(
        retry=retry_if_exception_type((OutageError, StorageError)),
        stop=stop_after_attempt(ATTEMPTS),
        reraise=True,
    )
    for name in (*(each.study_name for each in with_phases(study)[1:]), study.study_name):
        with suppress(KeyError, StudyDeletedError):  # another removal was faster
            refused(optuna.delete_study, study_name=name, storage=study._storage)
    record.delete()  # what a worker wrote in between: from now on it cannot
