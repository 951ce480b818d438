"""The signals that ask a command to save its work and stop."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ALWAYS = signal.SIGINT, signal.SIGTERM
Handler = Callable[[int, FrameType | None], Any]


@contextmanager
def stopping(handler: Handler) -> Iterator[None]:
    """Ctrl-C, SIGTERM and the end of the terminal (SIGHUP) call `handler` in the block.

    A SIGHUP that is ignored stays so: `nohup` asks for that.
    """
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    before = {number: signal.signal(number, handler) for number in (*ALWAYS, *hangup)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
