import os
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from kdsearch.errors import UsageError
from kdsearch.store.checkpoints import (
    ABANDONED_DAYS,
    _folder_of_url,
    adopt_checkpoints,
    check_state,
    checkpoint_folder,
    delete_checkpoints,
    remove_abandoned,
    remove_spent,
)
from kdsearch.store.facts import TrialFacts
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.trials import StudyTrial


@pytest.fixture
def record(create, url):
    """The record of a study, its database addressed by that URL."""
    create()
    opened = []

    def make(address=url):
        opened.append(StudyRecord(address, "small"))
        return opened[-1]

    yield make
    for each in opened:
        each.engine.dispose()


@pytest.fixture
def state(tmp_path):
    """The folder of all checkpoints; `write` makes one in a study's folder."""
    root = tmp_path / "state"
    root.mkdir()
    return root


def write(folder, name, days=0.0):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    os.utime(folder / name, (time.time() - 86400 * days,) * 2)
    return folder / name


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def ended(slot, state=TrialState.COMPLETE, mark=None):
    """A trial of Optuna's as the study has it."""
    values = {"value": 0.5} if state == TrialState.COMPLETE else {}
    return StudyTrial(create_trial(state=state, **values), TrialFacts.of_run(slot, mark=mark))


def test_one_study_has_one_folder_however_its_database_is_addressed(record, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.db").symlink_to("kdsearch.db")
    file = tmp_path / "kdsearch.db"
    addresses = ["kdsearch.db", "./kdsearch.db", f"../{tmp_path.name}/kdsearch.db", str(file), "link.db"]
    folders = {adopt_checkpoints(record(url := f"sqlite:///{name}"), url) for name in addresses}
    assert len(folders) == 1


def test_what_the_version_before_saved_is_found_once(record, state, url):
    earlier = _folder_of_url(url, "small")
    write(earlier, "slot-0-0.safetensors")
    folder = adopt_checkpoints(record(), url)
    assert names(folder) == ["slot-0-0.safetensors"]
    assert names(state) == [folder.name]
    write(earlier, "slot-0-0.safetensors")
    assert adopt_checkpoints(record(), url) == folder
    assert names(earlier) == ["slot-0-0.safetensors"]


def test_delete_leaves_nothing_and_a_study_made_anew_has_another_folder(record, create, state, url):
    folders = checkpoint_folder(record()), _folder_of_url(url, "small")
    for folder in folders:
        write(folder, "slot-0-0.safetensors")
    delete_checkpoints(record(), url)
    assert names(state) == []
    record().delete()
    assert checkpoint_folder(record()) not in folders


def test_a_study_that_optuna_deleted_leaves_no_checkpoints_once_it_is_made_anew(create, record, state, url):
    write(checkpoint_folder(record()), "slot-0-0.safetensors")
    optuna.delete_study(study_name="small", storage=create()._storage)
    create()
    assert names(state) == []


def test_only_what_a_trial_may_resume_is_left(tmp_path):
    trials = [
        ended(Run(SEARCH, 0, 0)),
        ended(Run(SEARCH, 1, 0), TrialState.PRUNED),
        ended(Run(SEARCH, 2, 0), TrialState.FAIL, "failed"),
        ended(Run(SEARCH, 3, 0), TrialState.FAIL, "lost"),  # once more than it is retried
        ended(Run(SEARCH, 3, 1), TrialState.FAIL, "lost"),
        ended(Run(SEARCH, 4, 0), TrialState.FAIL, "interrupted"),
        ended(Run(SEARCH, 4, 0), TrialState.WAITING),
        ended(Run(SEARCH, 5, 0), TrialState.RUNNING),
        ended(Run(SEARCH, 6, 0), TrialState.FAIL, "lost"),
        ended(Run(SEARCH, 6, 0)),  # by another machine, after the first was taken for dead
    ]
    folder = tmp_path / "checkpoints"
    for trial in trials:
        name = Path(trial.run.checkpoint).stem
        write(folder, f"{name}.safetensors")
        write(folder, f"{name}.part")
    write(folder, "slot-9-0.safetensors")  # of a trial that was asked since
    remove_spent(folder, trials)
    kept = ["slot-3-1", "slot-4-0", "slot-5-0"]
    whole = [f"{name}.{suffix}" for name in kept for suffix in ("part", "safetensors")]
    assert names(folder) == [*whole, "slot-9-0.safetensors"]


def test_to_clean_where_nothing_is_is_no_error(tmp_path):
    remove_spent(tmp_path / "none", [ended(Run(SEARCH, 0, 0))])
    remove_abandoned(tmp_path / "none")


def test_checkpoints_that_nobody_writes_any_more_go_and_nothing_else(state):
    old, young = ABANDONED_DAYS + 1, ABANDONED_DAYS - 1
    for name in ("0" * 32, "a" * 20):
        write(state / name, "slot-0-0.safetensors", old)
        write(state / name, "slot-0-0.part", old)
    kept = [
        write(state / ("1" * 32), "slot-0-0.safetensors", young),
        write(state / ("2" * 32), "notes.txt", old),
        write(state / "mine", "slot-0-0.safetensors", old),
        write(state / ("3" * 32), "slot-0-0.safetensors", old),  # of the study that begins again now
    ]
    write(state / ("1" * 32), "slot-1-0.safetensors", old)
    remove_abandoned(state / ("3" * 32))
    assert sorted(path for path in state.rglob("*") if path.is_file()) == sorted(kept)
    assert names(state) == ["1" * 32, "2" * 32, "3" * 32, "mine"]


def test_a_state_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KDSEARCH_STATE", str(tmp_path / "file" / "state"))
    with pytest.raises(UsageError, match=r"state: cannot be written to \(.*\); let KDSEARCH_STATE name"):
        check_state()
    monkeypatch.setenv("KDSEARCH_STATE", str(tmp_path / "state"))
    check_state()
    assert not list(Path(tmp_path / "state").iterdir())
