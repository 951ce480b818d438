"""Processes of kdsearch that a benchmark starts by itself. Loads no torch."""

from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any

from kdsearch.run.child import Child
from kdsearch.run.protocol import Failed


def heard(children: Sequence[Child]) -> Iterator[Any]:
    """What the children say until all have ended, as their supervisor hears it."""
    while not all(child.ended for child in children):
        wait([child.connection for child in children if not child.silent], 0.5)
        for message in (message for child in children for message in child.messages()):
            if isinstance(message, Failed):
                raise SystemExit(message.text)
            yield message
    if any(child.process.exitcode for child in children):
        raise SystemExit("a process of kdsearch died")
