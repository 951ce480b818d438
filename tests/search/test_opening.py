"""A supervisor whose study's database is away when it opens the study."""

from types import SimpleNamespace

import pytest

from kdsearch.errors import OutageError
from kdsearch.progress import Silence
from kdsearch.run import supervisor
from kdsearch.run.protocol import Created, Request
from kdsearch.store.storage import open_storage


@pytest.fixture
def opening(create, url, monkeypatch):
    """Makes a supervisor that has heard of its study, and whose database is away so many times."""

    def make(times):
        outages = iter(range(times))

        def open_late(*args, **kwargs):
            if next(outages, None) is not None:
                raise OutageError("away")
            return open_storage(*args, **kwargs)

        create(2)
        monkeypatch.setattr(supervisor, "open_storage", open_late)
        made = supervisor.Supervisor(Request(study="small", views=False), Silence(), None, None)
        process = SimpleNamespace(exitcode=0)
        made.preparing = SimpleNamespace(ended=True, silent=True, process=process, messages=lambda: ())
        made._hear(created(url))
        return made

    return make


def created(url):
    given = {"name": "small", "storage": url, "target": 2, "finished": 0, "hint_losses": ()}
    fields = dict.fromkeys(Created._fields) | given
    return Created(**fields)


def test_an_outage_is_waited_for_though_the_preparing_process_has_ended(opening):
    made, looks = opening(2), 0
    while made._is_busy():
        made._listen()
        looks += 1
    assert (looks, made.failure, made.study.study_name) == (3, None, "small")
    made.storage.engine.dispose()


def test_an_outage_that_does_not_end_is_told(opening, monkeypatch):
    monkeypatch.setattr(supervisor, "OUTAGE_SECONDS", 0.2)
    made = opening(1000)
    while made._is_busy():
        made._listen()
    assert (made.failure.text, made.study) == ("away", None)
