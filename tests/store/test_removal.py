import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from optuna.trial import TrialState, create_trial

from kdsearch.cli import main
from kdsearch.errors import StudyDeletedError, UsageError
from kdsearch.run.child import Child
from kdsearch.run.protocol import Failed, Job
from kdsearch.store import liveness
from kdsearch.store.facts import TrialFacts, attributes_of, keep
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.studies import check_idle, remove_study
from tests.servers import wait_until

ELSEWHERE = {"processes": "another machine", "host": "another"}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def running(create):
    """A study with a running trial of the worker with this mark, if any."""

    def make(mark):
        study = create()
        study.add_trial(
            create_trial(
                state=TrialState.RUNNING, user_attrs=attributes_of(TrialFacts.of_run(Run(SEARCH, 0, 0)))
            )
        )
        if mark:
            study._storage.set_trial_user_attr(study.trials[0]._trial_id, "worker", mark.model_dump())
        return study

    return make


def test_a_study_that_a_living_process_works_on_is_not_deleted(running, url, rows_of):
    running(liveness.this_worker(0))
    told = CliRunner().invoke(main, ["delete", "small", "--yes", "--storage", url])
    assert told.exit_code == 2
    assert told.stderr.startswith(f"Error: study 'small' is in use (process {os.getpid()} on ")
    assert "--force" in told.stderr
    assert rows_of()["trials"] == 1
    told = CliRunner().invoke(main, ["delete", "small", "--yes", "--force", "--storage", url])
    assert (told.exit_code, told.output) == (0, "removed small\n")
    assert rows_of() == {}


def test_a_dead_worker_s_study_is_deleted(running):
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    check_idle(running(liveness.this_worker(0).model_copy(update={"pid": dead.pid})))


def test_a_worker_elsewhere_counts_until_it_has_been_silent_for_the_grace_time(running):
    study = running(liveness.this_worker(0).model_copy(update=ELSEWHERE))
    study._storage.record_heartbeat(study.trials[0]._trial_id)
    with pytest.raises(UsageError, match=r"process \d+ on another"):
        check_idle(study)
    with study._storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = '2026-01-01 00:00:00'")
    check_idle(study)


def test_a_trial_that_was_taken_a_moment_ago_counts(running):
    with pytest.raises(UsageError, match="by a worker"):
        check_idle(running(None))


def test_a_study_that_is_being_prepared_is_not_deleted(create):
    study = create()
    keep(study, preparing=liveness.this_process())
    with pytest.raises(UsageError, match="is in use"):
        check_idle(study)


def test_a_worker_whose_study_is_deleted_says_so_in_one_line_and_leaves_no_row(
    create, url, prepared, rows_of, curves
):
    study = create(3, training={"epochs": 200, "batch_size": 20})
    child = Child("kdsearch.run.worker:work_process")
    child.begin(Job("small", url, prepared.model_dump(mode="json"), 0, 1, 0, 0.0))
    said = []

    def ended():
        said.extend(child.messages())
        return child.ended

    try:
        wait_until(lambda: study.trials and curves(study), "an epoch")
        told = CliRunner().invoke(main, ["delete", "small", "--yes", "--storage", url])
        assert told.exit_code == 2, told.output
        told = CliRunner().invoke(main, ["delete", "small", "--yes", "--force", "--storage", url])
        assert told.exit_code == 0, told.output
        wait_until(ended, "the worker's end")
    finally:
        child.process.kill()
        child.process.join()
    assert [message for message in said if isinstance(message, Failed)] == [
        Failed(str(StudyDeletedError()), 1)
    ]
    assert child.process.exitcode == 1
    assert rows_of() == {}
    assert not list(prepared.checkpoints.glob("*"))


def test_of_two_removals_at_once_the_second_finds_its_work_done(create, url):
    study = create()
    record = StudyRecord(study._storage.engine, "small")
    for _ in range(2):
        remove_study(study, record)
    assert record.files() == []
