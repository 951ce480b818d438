"""A child process: its start, its stop, and the report of its error."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn, Self

import optuna

from kdsearch.errors import KdsearchError
from kdsearch.run.protocol import Channel, Failed

CONTEXT = multiprocessing.get_context("spawn")
CLEANING_SECONDS = 5.0  # what a preparing process has to remove what it has half made
ORPHANED_SECONDS = 120.0  # what a child whose supervisor died has to save its work
# For glibc, in bytes: what a training step frees stays mapped for the next one. As glibc comes, a large
# buffer goes back to the system when it is freed, and the next step waits for cleared pages. What is kept is
# given back between trials (`engine.lean.give_memory_back`). And for OpenMP: a thread that waits for another
# one sleeps. By default it spins, which starves that other one where workers, or other users, have the cores.
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "OMP_WAIT_POLICY": "passive",
}


class Child:
    """A running child process and the supervisor's ends of its pipes.

    `target` is `module:function`: the supervisor does not load what the child needs. The child loads it at
    once, and calls the function when `begin` gives it the arguments.
    """

    def __init__(self, target: str) -> None:
        self.connection, theirs = CONTEXT.Pipe(duplex=False)
        inbox, self.inbox = CONTEXT.Pipe(duplex=False)
        self.process: BaseProcess = CONTEXT.Process(target=_enter, args=(target, theirs, inbox), daemon=True)
        with without(signal.SIGHUP):
            resource_tracker.ensure_running()  # starting it unblocks SIGINT, which a child would inherit
            with without(signal.SIGINT), by_default(ENVIRONMENT):
                self.process.start()
        theirs.close()
        inbox.close()
        self.asked_to_stop = False
        self.silent = False  # its end of the pipe is closed

    def begin(self, *args: Any) -> Self:
        """Gives the function its arguments, after the pipe to the supervisor."""
        with suppress(OSError):  # it has died already, as `ended` will tell
            self.inbox.send(args)
        return self

    def ask_to_stop(self) -> None:
        """Sends SIGTERM, once: a worker saves its trial at the next step."""
        if not self.ended and not self.asked_to_stop:
            self.asked_to_stop = True
            self.process.terminate()

    def messages(self) -> Iterator[tuple[Any, ...]]:
        """The child's messages since the last call."""
        try:
            while self.connection.poll():
                yield self.connection.recv()
        except (EOFError, OSError):
            self.silent = True

    @property
    def ended(self) -> bool:
        """Whether the process is gone and all its messages have been read."""
        return self.silent and self.process.exitcode is not None

    @property
    def end(self) -> str:
        """How the process ended: by which signal, or with which exit code."""
        code = self.process.exitcode or 0
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def end(preparing: Child, *others: Child, at_once: bool = False) -> None:
    """Ends these processes; the first one has a moment to clean up, unless `at_once`."""
    if not at_once:
        preparing.process.terminate()
        preparing.process.join(CLEANING_SECONDS)
    for child in (preparing, *others):
        child.process.kill()
        child.process.join()


def _enter(target: str, connection: Connection, inbox: Connection) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    module, function = target.split(":")
    call = getattr(import_module(module), function)
    try:
        args = inbox.recv()
    except EOFError:
        return  # whoever started it is gone, or has no work for it
    call(connection, *args)


@contextmanager
def without(number: signal.Signals) -> Iterator[None]:
    """Blocks a signal: children started inside inherit that.

    So Ctrl-C and the end of the terminal reach the supervisor alone, which asks its children to stop.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def by_default(variables: dict[str, str]) -> Iterator[None]:
    """Children started inside have those of these environment variables that the user has not set."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def quiet() -> None:
    """No library's log line or warning reaches the user."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    logging.disable(logging.ERROR)


@contextmanager
def child(connection: Connection) -> Iterator[tuple[Channel, Callable[[], bool]]]:
    """The frame of a child's work: a channel to the supervisor, and whether it should stop.

    SIGTERM, or the death of the supervisor, asks it to stop. A KdsearchError is sent to the supervisor.
    """
    quiet()
    channel, stopping = Channel(connection), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    threading.Thread(target=_watch_supervisor, daemon=True).start()
    try:
        yield channel, stopping.is_set
    except KdsearchError as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending: a stop now would be a traceback
        channel.send(Failed(str(error), error.exit_code))
        sys.exit(error.exit_code)


def leave(code: int) -> NoReturn:
    """Ends the process at once, since everything is stored and reported.

    A normal exit waits for the heartbeat's thread, which may wait for a lost database; and torch's CUDA
    libraries take 100 MiB for their clean-up even if no GPU was used.
    """
    os._exit(code)


def give_up(channel: Channel, error: KdsearchError) -> NoReturn:
    """Ends the process after its database or its study is lost; the running trial is saved."""
    channel.send(Failed(str(error), error.exit_code))
    leave(error.exit_code)


def _watch_supervisor() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    if not threading.Event().wait(ORPHANED_SECONDS):
        os._exit(1)
