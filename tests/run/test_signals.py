"""Which signals count."""

import signal

import pytest

from kdsearch.run.signals import stopping


@pytest.fixture
def heard():
    return []


def test_signals_at_once_are_one(heard):
    with stopping(heard, at_once=60.0):
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
    assert heard == [signal.SIGTERM]


def test_a_later_signal_is_a_second_one(heard):
    with stopping(heard, at_once=0.0):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert heard == [signal.SIGTERM, signal.SIGINT]


def test_the_end_of_the_terminal_is_never_a_second_signal(heard):
    """The kernel and the shell each send theirs, more than a moment apart."""
    hangups = []
    with stopping(heard, lambda: hangups.append(1), at_once=0.0):
        for _ in range(2):
            signal.raise_signal(signal.SIGHUP)
        assert (heard, hangups) == ([signal.SIGHUP], [1, 1])
        signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGHUP, signal.SIGTERM]
