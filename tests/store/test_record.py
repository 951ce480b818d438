import math
import subprocess
import sys

import pytest
from sqlalchemy import select, update

from kdsearch.errors import StorageError
from kdsearch.store.record import PART_BYTES, StudyRecord
from kdsearch.store.runs import SEARCH, TEACHER, Run
from kdsearch.store.schema import files

BOTH = pytest.mark.parametrize(
    "url", ["sqlite_url", pytest.param("postgres_url", marks=pytest.mark.postgres)]
)


@pytest.fixture
def open_record(url, request):
    opened = []

    def make(study="digits"):
        opened.append(StudyRecord(request.getfixturevalue(url), study))
        return opened[-1]

    yield make
    for record in opened:
        record.engine.dispose()


@BOTH
def test_epochs_come_back_in_order_and_bit_for_bit(open_record, epoch):
    record = open_record()
    results = [
        epoch(number, train_loss=number / 3, finished_at=1_700_000_000.1 + number) for number in (1, 2, 3)
    ]
    for result in reversed(results):
        record.epoch(Run(SEARCH, 0, 0), result)
    assert open_record().epochs(Run(SEARCH, 0, 0)) == results


@BOTH
def test_not_a_number_and_infinity_survive(open_record, epoch):
    record = open_record()
    record.epoch(
        Run(SEARCH, 0, 0),
        epoch(1, train_loss=math.nan, val_loss=math.inf, parts={"kl": math.nan, "ce": -math.inf}),
    )
    (result,) = record.epochs(Run(SEARCH, 0, 0))
    assert math.isnan(result.train_loss)
    assert math.isnan(result.parts["kl"])
    assert (result.val_loss, result.parts["ce"]) == (math.inf, -math.inf)


@BOTH
def test_an_epoch_written_again_changes_nothing(open_record, epoch):
    record = open_record()
    record.epoch(Run(SEARCH, 0, 0), epoch(1, val_accuracy=0.5))
    record.epoch(Run(SEARCH, 0, 0), epoch(1, val_accuracy=0.6, finished_at=1.0))
    assert record.epochs(Run(SEARCH, 0, 0)) == [epoch(1, val_accuracy=0.5)]


RUNS = Run(TEACHER, 0, 0), Run(SEARCH, 0, 0), Run(SEARCH, 0, 1)


@BOTH
def test_slots_attempts_and_studies_are_kept_apart(open_record, epoch):
    record, other = open_record(), open_record("other")
    for accuracy, run in enumerate(RUNS):
        record.epoch(run, epoch(1, val_accuracy=accuracy))
    other.epoch(Run(SEARCH, 0, 0), epoch(9))
    assert {run: len(results) for run, results in record.all_epochs().items()} == dict.fromkeys(RUNS, 1)
    assert record.epochs(RUNS[2]) == [epoch(1, val_accuracy=2)]
    record.delete()
    assert (record.all_epochs(), other.epochs(Run(SEARCH, 0, 0))) == ({}, [epoch(9)])


@BOTH
def test_a_file_of_several_parts_comes_back_whole(open_record):
    record = open_record()
    content = bytes(range(256)) * (PART_BYTES // 256) + b"tail"
    record.put_file("teacher", content)
    record.put_file("empty", b"")
    assert record.file("teacher") == content
    assert record.file("empty") == b""
    assert record.files() == ["empty", "teacher"]


@BOTH
def test_the_first_writer_of_a_file_wins_unless_it_is_replaced(open_record):
    record = open_record()
    first = record.put_file("teacher", b"first")
    assert record.put_file("teacher", b"second") == first
    assert record.file("teacher") == b"first"
    assert record.put_file("teacher", b"x", replace=True) != first
    assert record.file("teacher") == b"x"
    record.delete_file("teacher")
    record.delete_file("teacher")
    assert record.file("teacher") is None


@BOTH
def test_identity_is_one_for_all_readers_and_new_after_delete(open_record):
    record = open_record()
    before = record.identity()
    assert open_record().identity() == before != open_record("other").identity()
    record.delete()
    assert record.identity() != before


def test_a_damaged_file_is_named_with_a_cure(record):
    record.put_file("teacher", b"good")
    with record.engine.begin() as connection:
        connection.execute(update(files).values(content=b"evil"))
    with pytest.raises(
        StorageError, match=r"file 'teacher' of study 'digits' is damaged.*kdsearch delete digits"
    ):
        record.file("teacher")


CREATE = """
import sys
from kdsearch.store.record import StudyRecord
print("ready", flush=True)
sys.stdin.read()
record = StudyRecord(sys.argv[1], "digits")
print(record.put_file("teacher", sys.argv[2].encode() * 20_000_000))
"""


@BOTH
def test_many_processes_create_the_tables_and_one_file_at_once(open_record, url, request):
    """All wait for their standard input to close, so that they start together."""
    storage = request.getfixturevalue(url)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", CREATE, storage]
    racing = [subprocess.Popen([*command, str(number)], **pipes) for number in range(4)]
    for process in racing:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    answers = [process.communicate() for process in racing]
    assert [process.returncode for process in racing] == [0] * 4, answers
    record = open_record()
    with record.engine.begin() as connection:
        stored = connection.execute(select(files.c.sha256)).scalars().all()
    assert {answer.strip() for answer, _ in answers} == set(stored)
    assert len(set(stored)) == 1
    assert record.file("teacher") is not None
