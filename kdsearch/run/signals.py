"""The signals that ask a command to save its work and stop."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ALWAYS = signal.SIGINT, signal.SIGTERM
ONE_SIGNAL = 0.1  # seconds within which signals are one: `timeout` and job schedulers send theirs twice


@contextmanager
def stopping(
    signals: list[int], hang_up: Callable[[], object] = lambda: None, *, at_once: float = ONE_SIGNAL
) -> Iterator[None]:
    """Ctrl-C, SIGTERM and the end of the terminal (SIGHUP) are put on the list `signals` in the block.

    Those within `at_once` seconds of the one before are the same one, and a SIGHUP is never a second one: the
    kernel and the shell each send theirs. `hang_up` is called for each. A SIGHUP that is ignored stays so:
    `nohup` asks for that.
    """
    counted = 0.0

    def count(number: int, _: FrameType | None) -> None:
        nonlocal counted
        now = time.monotonic()
        if not signals or (number != signal.SIGHUP and now - counted > at_once):
            signals.append(number)
            counted = now
        if number == signal.SIGHUP:
            hang_up()

    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    before = {number: signal.signal(number, count) for number in (*ALWAYS, *hangup)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
