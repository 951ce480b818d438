"""A search whose MLflow server is stopped and started again in the middle."""

from threading import Event

import pytest
from alembic.util import CommandError
from mlflow import MlflowClient
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from kdsearch.mirror.mirror import Mirror
from kdsearch.run.mirror_thread import MirrorThread
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.storage import open_storage
from kdsearch.store.trials import FINISHED
from tests.servers import mlflow_server, wait_until


@pytest.fixture
def server(tmp_path):
    with mlflow_server(tmp_path) as server:
        yield server


@pytest.fixture
def said():
    return []


@pytest.mark.mlflow
@pytest.mark.slow
def test_the_search_does_not_notice_and_the_mirror_catches_up(create, worker, server, url, said):
    study = create(2)
    mirror = MirrorThread(Mirror, server.uri, open_storage(url), "small", said.append)
    mirror.start()
    worker().work()
    wait_until(lambda: mirror.awaits_model(Run(SEARCH, 1, 0)), "two runs")

    server.kill()
    study.set_user_attr("target", 4)
    worker().work()
    wait_until(lambda: said, "a tick that fails")
    assert len(said) == 1
    assert said[0].startswith(f"MLflow at {server.uri}: ")

    server.start()
    study.set_user_attr("target", 5)
    worker().work()
    assert mirror.finish("FINISHED", lambda: False)
    assert len(said) == 1
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5
    assert runs_of(server) == {
        f"trial {trial.number}": trial.value for trial in study.trials if trial.state in FINISHED
    }


class Heard:
    """A mirror that only remembers what it was asked."""

    def __init__(self, *_):
        self.study, self.ticks, self.closed, self.moved = None, [], [], 0.0

    def page(self):
        return None

    def tick(self, trials, *, live=True):
        self.ticks.append(({row.number: row.state for row in trials}, live))

    def close(self, status):
        self.closed.append(status)

    def awaits_model(self, run):
        return None


def test_the_last_tick_has_all_that_ended_since_the_first(create, worker, url, said):
    study = create(2)
    heard = Heard()
    mirror = MirrorThread(lambda *_: heard, None, open_storage(url), "small", said.append)
    mirror.start()
    wait_until(lambda: heard.ticks, "the first tick")
    worker().work()
    assert mirror.finish("FINISHED", lambda: False)
    assert heard.ticks[0] == ({}, True)
    assert heard.ticks[-1] == ({trial.number: "COMPLETE" for trial in study.trials}, True)
    assert heard.closed[-1] == "FINISHED"
    assert mirror.spent > 0


class Stumbling(Heard):
    """A mirror whose first tick fails as MLflow's migration does: with an error that nobody listed."""

    def tick(self, trials, *, live=True):
        super().tick(trials, live=live)
        if len(self.ticks) == 1:
            raise CommandError("Can't locate postgresql://me:secret@host/x\nmore")


def test_no_error_ends_the_mirror(create, url, said):
    create(2)
    mirror = MirrorThread(lambda *_: Stumbling(), None, open_storage(url), "small", said.append)
    mirror.start()
    wait_until(lambda: not mirror.behind, "a tick after the one that failed")
    assert mirror.finish("KILLED", lambda: False)
    told = "the mirror: Can't locate postgresql://me:***@host/x; the study's database keeps everything"
    assert said == [f"{told}, and 'kdsearch sync' catches up"]


def test_a_terminal_that_is_closed_does_not_end_the_mirror(create, url):
    def say(text):
        raise OSError(5, text)

    create(2)
    stumbling = Stumbling()
    mirror = MirrorThread(lambda *_: stumbling, None, open_storage(url), "small", say)
    mirror.start()
    wait_until(lambda: mirror.told, "a tick that fails")
    assert mirror.finish("KILLED", lambda: False)
    assert stumbling.closed == ["KILLED"]


class Silent(Heard):
    """An MLflow that never answers."""

    def tick(self, trials, *, live=True):
        super().tick(trials, live=live)
        Event().wait()


def test_a_search_that_is_over_does_not_wait_for_an_mlflow_that_takes_nothing(create, url, said):
    create(2)
    silent = Silent()
    mirror = MirrorThread(lambda *_: silent, None, open_storage(url), "small", said.append)
    mirror.start()
    wait_until(lambda: silent.ticks, "the first tick")
    assert not mirror.finish("FINISHED", lambda: False, patience=0.1)
    assert mirror.is_alive()


def test_a_search_that_is_over_does_not_wait_for_a_mirror_that_never_opens(create, url, said):
    create(2)
    mirror = MirrorThread(lambda *_: Event().wait(), None, open_storage(url), "small", said.append)
    mirror.start()
    assert not mirror.finish("FINISHED", lambda: False, patience=0.0, opening=0.1)
    assert mirror.is_alive()


def test_a_record_that_is_away_is_looked_for_again_soon(create, url, said):
    """The tick ends, rather than the 300 s for which a trial would wait."""
    create(2)
    heard, storage = Heard(), open_storage(url)
    event.listen(storage.engine, "before_cursor_execute", away)
    mirror = MirrorThread(lambda *_: heard, None, storage, "small", said.append)
    mirror.patience = 0.0
    mirror.start()
    assert not mirror.finish("FINISHED", lambda: False)
    assert not mirror.is_alive()
    assert (heard.ticks, said) == ([], [])


def away(_, __, text, *___):
    """The record's first question is which tables there are."""
    if "sqlite_master" in text:
        raise OperationalError(text, {}, Exception("the connection was refused"))


def runs_of(server):
    """The final accuracy of each trial's run, by the trial's number."""
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("small")
    runs = client.search_runs([experiment.experiment_id])
    return {
        f"trial {run.data.tags['trial']}": pytest.approx(run.data.metrics["final_accuracy"])
        for run in runs
        if "final_accuracy" in run.data.metrics
    }
