"""The whole command on a study that real processes have finished."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from kdsearch import api
from kdsearch.store.facts import study_facts
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import SEARCH, Run
from tests.databases import content


@pytest.fixture
def finished(undisturbed, small, monkeypatch):
    """A copy of the study that has all its trials."""
    shutil.copy(undisturbed.folder / "kdsearch.db", small.folder / "kdsearch.db")
    monkeypatch.setenv("KDSEARCH_STATE", str(undisturbed.folder / "state"))
    assert small.study, "its storage is open now"
    return small


@pytest.fixture
def replay(finished):
    """Starts the command in a process group of its own."""

    started = []

    def start(*arguments):
        command = [sys.executable, "-m", "kdsearch", "replay", *arguments, "--storage", finished.url]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(
            subprocess.Popen(command, **pipes, text=True, start_new_session=True, cwd=finished.folder)
        )
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.communicate()


def test_a_finished_study_is_replayed_bitwise_and_stays_as_it_was(finished, replay):
    before = content(finished.url)
    done = replay("1", "small", "--json", "--quiet")
    said, errors = done.communicate()
    assert (done.returncode, errors) == (0, "")
    found = json.loads(said)
    assert (found["equal"], found["first_difference"], found["surroundings"]) == (True, None, {})
    assert found["compared"] == found["epochs"] == len(finished.curves[Run(SEARCH, 1, 0)])
    assert content(finished.url) == before


def test_views_that_are_gone_are_made_again(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "elsewhere"))
    before = content(finished.url)
    assert api.replay(0, values={"run.storage": finished.url}).equal
    assert content(finished.url) == before
    assert study_facts(finished.study).teachers


def test_another_number_is_named_with_exit_code_1(finished, replay):
    run = Run(SEARCH, 0, 0)
    record = StudyRecord(finished.url, "small")
    epochs = record.epochs(run)
    epochs[1] = epochs[1].model_copy(update={"val_accuracy": 2.0})
    record.replace_epochs(run, epochs)
    record.engine.dispose()
    done = replay("0", "--keep", "--quiet")
    said, errors = done.communicate()
    assert (done.returncode, errors) == (1, "")
    assert said.startswith("trial 0: equal up to epoch 0; epoch 1 differs: val_accuracy 0.")
    assert ", recorded 2.0 (-" in said
    assert said.splitlines()[-1].startswith("No weights are stored")


def test_ctrl_c_ends_it_with_a_line(finished, replay):
    before = content(finished.url)
    running = replay("0")
    next(line for line in running.stderr if line.startswith("trial 0 0/"))
    os.killpg(running.pid, signal.SIGINT)
    said, errors = running.communicate()
    assert (said, running.returncode) == ("", 130)
    assert errors.splitlines()[-1] == "Error: stopped; the study is as it was"
    assert content(finished.url) == before
