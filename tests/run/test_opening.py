"""A supervisor whose study's database is away when it opens the study."""

from types import SimpleNamespace

import pytest

from kdsearch.progress import Silence
from kdsearch.run.protocol import Created, Request
from kdsearch.run.supervisor import Supervisor

AWAY = "postgresql+psycopg://me@127.0.0.1:1/kdsearch"  # nobody listens there


@pytest.fixture
def opening():
    """A supervisor that has heard of a study in a database that is away; its preparing process has ended."""
    made = Supervisor(Request(study="small", views=False), Silence())
    process = SimpleNamespace(exitcode=0)
    made.preparing = SimpleNamespace(ended=True, silent=True, process=process, messages=lambda: ())
    made._hear(created(AWAY))
    return made


def created(url):
    given = {"name": "small", "storage": url, "target": 2, "finished": 0, "left": True, "hint_losses": ()}
    fields = dict.fromkeys(Created._fields) | given
    return Created(**fields)


def test_an_outage_is_waited_for_though_the_preparing_process_has_ended(opening, create, url):
    create(2)
    for _ in range(2):
        opening._listen()
        assert opening._is_busy()
    opening._hear(created(url))  # as if the database had come back
    opening._listen()
    assert not opening._is_busy()
    assert (opening.failure, opening.running.study.study_name) == (None, "small")
    opening.running.close()


def test_an_outage_that_does_not_end_is_told(opening):
    opening.running.patience = 0.2
    while opening._is_busy():
        opening._listen()
    assert opening.failure.text.startswith(f"--storage {AWAY}: cannot be opened: ")
    assert opening.running.study is None
