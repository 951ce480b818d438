import subprocess
import sys

import pytest
from mlflow import MlflowClient

from kdsearch.store.runs import SEARCH, Run

QUIET = """
import sys
from kdsearch.mirror.mirror import Mirror
from kdsearch.mirror.uri import MirrorUnavailableError
from kdsearch.store.record import StudyRecord
from kdsearch.mirror.runs import StudyRow
record = StudyRecord("sqlite:///kdsearch.db", "digits")
study = StudyRow(name="digits", file_text="", data={"name": "digits", "fingerprint": "f"})
Mirror("sqlite:///mlflow.db", study, record).tick([])
try:
    Mirror("http://me:secret@127.0.0.1:9", study, record).tick([])
except MirrorUnavailableError as error:
    print(error)
assert "torch" not in sys.modules
"""


def test_a_new_store_is_made_without_a_word_and_an_absent_server_costs_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", QUIET], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith("MLflow at http://me:***@127.0.0.1:9: ")
    assert "secret" not in done.stdout


RACE = """
import sys
from kdsearch.epoch import EpochResult
from kdsearch.mirror.mirror import Mirror
from kdsearch.mirror.uri import MirrorUnavailableError
from kdsearch.store.record import StudyRecord
from kdsearch.mirror.runs import StudyRow, TrialRow

uri, storage, *rows = sys.argv[1:]
trials = [TrialRow.model_validate_json(row) for row in rows]
mirror = Mirror(uri, StudyRow(name="race", file_text=""), StudyRecord(storage, "digits"))
print("ready", flush=True)
sys.stdin.read()
for _ in range(20):
    try:
        mirror.tick(trials)
    except MirrorUnavailableError:
        continue
    break
else:
    raise SystemExit("the two never agree")
"""


@pytest.mark.mlflow
def test_two_mirrors_at_once_make_each_run_once(mlflow, sqlite_url, record, trial, epoch):
    for slot in range(5):
        record.epoch(Run(SEARCH, slot, 0), epoch(1))
    rows = [trial(number, "COMPLETE").model_dump_json() for number in range(5)]
    command = [sys.executable, "-c", RACE, mlflow.uri, sqlite_url, *rows]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    racing = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in racing:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in racing:
        process.stdin.close()
    for process in racing:
        assert process.wait() == 0, process.stderr.read()
        process.stdout.close()
        process.stderr.close()
    client = MlflowClient(mlflow.uri)
    experiment = client.get_experiment_by_name("race").experiment_id
    keys = sorted(run.data.tags["kdsearch.run"] for run in client.search_runs([experiment]))
    assert keys == ["0.0", "1.0", "2.0", "3.0", "4.0", "study"]
