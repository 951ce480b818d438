import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from optuna.study import StudyDirection

from kdsearch.errors import StorageError, UsageError
from kdsearch.search.storage import open_existing, open_storage
from tests.servers import PATIENCE, postgres_server


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
        "import sys, optuna; from kdsearch.search.storage import open_storage\n"
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


@pytest.mark.postgres
def test_a_worker_that_starts_while_the_database_is_away_waits_for_it():
    with postgres_server() as server, ThreadPoolExecutor(1) as pool:
        url = server.new_database()
        storage = open_storage(url, create=True)
        storage.create_new_study([StudyDirection.MAXIMIZE], "there")
        storage.engine.dispose()
        server.crash()
        opened = pool.submit(open_storage, url, check=False)
        with pytest.raises(StorageError, match="cannot be opened"):
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
