"""A study on PostgreSQL, which goes away in the middle."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

from kdsearch.store.liveness import worker_of
from kdsearch.store.trials import Trials
from tests.servers import postgres_server, wait_until

TARGET = 12


@pytest.fixture
def server():
    with postgres_server() as server:
        yield server


def crash(server, watched, seconds):
    """Once some trials are finished and others train; starts it again that much later."""
    wait_until(lambda: watched.finished >= 2, "trials")
    server.crash()
    crashed = monotonic()
    wait_until(lambda: monotonic() - crashed > seconds, "the end of the outage")
    server.start()


@pytest.mark.postgres
@pytest.mark.slow
def test_two_workers_outlive_a_crash_of_the_database_and_finish_every_slot_once(small, server, watched):
    small.url = server.new_database()
    small.write(epochs=10)
    with ThreadPoolExecutor(1) as pool:
        crashed = pool.submit(crash, server, watched, 4)
        summary, _ = small.run(TARGET, 2, watched)
        crashed.result()
    assert summary.finished == TARGET
    assert Counter(slot.place for slot in small.finished) == Counter(range(TARGET))
    workers = [worker_of(trial) for trial in Trials.of(small.study) if trial.run]
    assert len({worker.pid for worker in workers if worker}) == 2, "a worker ended"
    assert not [text for text in watched.said if "database" in text]
