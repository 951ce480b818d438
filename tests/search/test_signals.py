"""Which signals count."""

import signal
from time import monotonic

import pytest

from kdsearch.run import signals
from kdsearch.run.signals import stopping
from tests.servers import wait_until


@pytest.fixture
def heard():
    return []


def pause():
    begun = monotonic()
    wait_until(lambda: monotonic() - begun > 2 * signals.ONE_SIGNAL, "a signal that is told from the first")


def test_signals_at_once_are_one(heard, monkeypatch):
    monkeypatch.setattr(signals, "ONE_SIGNAL", 60.0)
    with stopping(heard):
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
    assert heard == [signal.SIGTERM]


def test_a_later_signal_is_a_second_one(heard):
    with stopping(heard):
        signal.raise_signal(signal.SIGTERM)
        pause()
        signal.raise_signal(signal.SIGINT)
    assert heard == [signal.SIGTERM, signal.SIGINT]


def test_the_end_of_the_terminal_is_never_a_second_signal(heard):
    """The kernel and the shell each send theirs, more than a moment apart."""
    hangups = []
    with stopping(heard, lambda: hangups.append(1)):
        for _ in range(2):
            signal.raise_signal(signal.SIGHUP)
            pause()
        assert (heard, hangups) == ([signal.SIGHUP], [1, 1])
        signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGHUP, signal.SIGTERM]
