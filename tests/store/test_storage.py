import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, fail_stale_trials
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from sqlalchemy import create_engine, event, inspect

from kdsearch.errors import OutageError, StorageError, StudyDeletedError, UsageError
from kdsearch.store.record import StudyRecord
from kdsearch.store.storage import StudyStorage, open_existing, open_storage
from kdsearch.store.studies import load_study
from tests.servers import PATIENCE, postgres_server, wait_until, write_lock


def test_opening_a_storage_warns_nobody(url):
    open_storage(url, create=True)


def test_those_who_create_the_same_database_at_once_all_get_it(url):
    with ThreadPoolExecutor(4) as pool:
        storages = list(pool.map(lambda _: open_storage(url, create=True), range(4)))
    assert all(storage.get_all_studies() == [] for storage in storages)


def test_a_waiting_trial_is_popped_once_by_processes_that_race(create, url):
    study = create()
    for place in range(30):
        study.enqueue_trial({}, user_attrs={"slot": place, "attempt": 0})
    code = (
        "import sys, optuna; from kdsearch.store.storage import open_storage\n"
        "study = optuna.load_study(study_name='small', storage=open_storage(sys.argv[1]))\n"
        "while (popped := study._pop_waiting_trial_id()) is not None: print(popped)"
    )
    racers = [
        subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    popped = [int(line) for racer in racers for line in racer.communicate()[0].split()]
    assert sorted(popped) == sorted(trial._trial_id for trial in study.trials)


def test_a_file_in_no_folder_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        open_storage(f"sqlite:///{tmp_path / 'missing' / 'x.db'}")


def test_a_file_that_is_no_database_is_one_line(tmp_path):
    path = tmp_path / "x.db"
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(StorageError, match="file is not a database"):
        open_storage(f"sqlite:///{path}", create=True)


def test_looking_makes_no_file(tmp_path):
    path = Path(tmp_path / "x.db")
    with pytest.raises(UsageError, match="no study here yet"):
        open_existing(f"sqlite:///{path}")
    assert not path.exists()


def test_who_looks_at_half_made_tables_leaves_them_to_their_creator(url):
    """Optuna would add the missing row, and their creator, who adds it too, would fail."""
    engine = create_engine(url)
    optuna.storages._rdb.models.BaseModel.metadata.create_all(engine)
    with pytest.raises(UsageError, match="no study here yet"):
        open_existing(url)
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM version_info").scalar_one() == 0
    engine.dispose()
    open_storage(url, create=True).engine.dispose()
    open_existing(url).engine.dispose()


def test_another_program_s_database_is_refused_and_left_as_it_is(url):
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num TEXT)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('of MLflow')")
    for opened in (partial(open_storage, create=True), open_existing):
        with pytest.raises(UsageError, match=r"kdsearch\.db: (another program's|no study)"):
            opened(url)
    assert inspect(engine).get_table_names() == ["alembic_version"]
    engine.dispose()


@pytest.mark.parametrize("command", [["status", "small"], ["status", "--json"]])
def test_a_reader_waits_for_no_writer(create, url, tmp_path, command):
    create()
    with write_lock(tmp_path / "kdsearch.db"):
        told = subprocess.run(
            [sys.executable, "-m", "kdsearch", *command, "--storage", url],
            capture_output=True,
            text=True,
            check=False,
            timeout=50,  # a writer would wait for 60
        )
    assert (told.returncode, told.stderr) == (0, "")
    assert "small" in told.stdout


def test_a_trial_s_reads_wait_for_no_writer(create, url, tmp_path):
    study = create()
    study._storage.create_new_trial(study._study_id)
    storage, record = open_storage(url, patience=0), StudyRecord(url, "small")
    storage.engine.dispose()
    with write_lock(tmp_path / "kdsearch.db"):
        assert len(storage.get_all_trials(study._study_id)) == 1
        assert storage.heartbeats() == {}
        assert record.all_epochs() == {}


def test_an_empty_file_is_named_by_those_who_look(url, tmp_path):
    (tmp_path / "kdsearch.db").touch()
    with pytest.raises(UsageError, match=r"kdsearch\.db: an empty file, no study here yet; 'kdsearch run'"):
        open_existing(url)
    assert (tmp_path / "kdsearch.db").stat().st_size == 0


def test_a_file_that_is_damaged_under_a_study_is_one_line_at_once(create, url, tmp_path):
    study = create()
    study._storage.engine.dispose()
    path = tmp_path / "kdsearch.db"
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"?" * (len(content) - 4096))
    with pytest.raises(StorageError, match=r"kdsearch\.db: .*malformed; restore it from a copy") as told:
        study.get_trials()
    assert not isinstance(told.value, OutageError)


def test_a_study_that_was_deleted_takes_nothing_more(create, url, rows_of):
    study, record = create(), StudyRecord(url, "small")
    study._thread_local.in_optimize_loop = True  # else Optuna warns of the heartbeat
    trial = study.ask()
    optuna.delete_study(study_name="small", storage=open_storage(url))
    record.delete()
    calls = [
        lambda: trial.report(0.5, 1),
        lambda: trial.set_user_attr("key", 1),
        lambda: study.tell(trial, 0.5),
        study.ask,
        study.get_trials,
        lambda: study.user_attrs,
        lambda: study.set_user_attr("key", 1),
        lambda: load_study(open_storage(url), "small"),
        lambda: record.put_file("weights", b"content"),
        record.identity,
    ]
    for call in calls:
        with pytest.raises(StudyDeletedError, match="somebody deleted the study"):
            call()
    study._storage.record_heartbeat(trial._trial_id)
    assert rows_of() == {}


@pytest.mark.postgres
def test_a_worker_that_starts_while_the_database_is_away_waits_for_it():
    with postgres_server() as server, ThreadPoolExecutor(1) as pool:
        url = server.new_database()
        storage = open_storage(url, create=True)
        storage.create_new_study([StudyDirection.MAXIMIZE], "there")
        storage.engine.dispose()
        server.crash()
        opened = pool.submit(open_storage, url, check=False)
        with pytest.raises(OutageError, match="cannot be opened"):
            open_storage(url)
        assert not opened.done()
        server.start()
        storage = opened.result(PATIENCE)
        assert [study.study_name for study in storage.get_all_studies()] == ["there"]
        storage.engine.dispose()


def test_a_database_has_one_lock_whatever_leads_to_it(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "there" / "kdsearch.db")
    open_storage(f"sqlite:///{tmp_path / 'link.db'}", create=True).engine.dispose()
    assert list(tmp_path.rglob("*.lock")) == [tmp_path / "there" / "kdsearch.db.lock"]


def test_a_heartbeat_that_fails_ends_no_thread(create):
    """Optuna's thread would die of it, and another machine take the trial over."""
    study = create()
    study.add_trial(create_trial(state=TrialState.RUNNING))
    storage = study._storage
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE trial_heartbeats")
    storage.record_heartbeat(study.trials[0]._trial_id)
    with pytest.raises(StorageError):
        storage.heartbeats()


def test_no_call_of_optuna_s_goes_without_the_retries():
    asked = BaseStorage.__abstractmethods__ | BaseHeartbeat.__abstractmethods__
    assert {getattr(StudyStorage, name).__module__ for name in asked} == {StudyStorage.__module__}


def test_a_trial_beats_while_it_runs(create):
    study = create()

    def objective(trial):
        wait_until(lambda: trial._trial_id in study._storage.heartbeats(), "a heartbeat")
        return 0.5

    study.optimize(objective, n_trials=1)
    assert study.trials[0].value == 0.5


def test_a_trial_whose_heart_stopped_is_failed_and_waits_again(create):
    study = create()
    study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs={"slot": 0, "attempt": 0}))
    storage = study._storage
    storage.record_heartbeat(study.trials[0]._trial_id)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        fail_stale_trials(study)
        assert [trial.state for trial in study.trials] == [TrialState.RUNNING]
        with storage.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = '2000-01-01 00:00:00.000000'")
        fail_stale_trials(study)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_finished_trials_are_read_once(create):
    study = create()
    study.add_trials([create_trial(value=0.5), create_trial(state=TrialState.RUNNING)])
    storage, heard = study._storage, []
    finished, running = study.get_trials(deepcopy=False)
    event.listen(storage.engine, "before_cursor_execute", lambda *given: heard.append(given[2]))
    assert storage.get_trial(finished._trial_id) is finished
    assert heard == []
    again = study.get_trials(deepcopy=False)
    assert again[0] is finished
    assert again[1] is not running
