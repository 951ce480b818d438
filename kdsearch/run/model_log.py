"""Logs the best model to MLflow in a process that, unlike all others, loads both torch and MLflow."""

import time
from typing import NamedTuple

from kdsearch.errors import ReportedError
from kdsearch.progress import Progress
from kdsearch.run.child import Child
from kdsearch.run.protocol import Failed, Say
from kdsearch.tables import ANY, Wanted


class ModelRequest(NamedTuple):
    """Which model is to be logged, and with which of MLflow's runs."""

    storage: str
    study: str
    uri: str
    run_id: str
    wanted: Wanted = ANY
    register: str = ""  # the name in MLflow's registry; empty: not there


class ModelLog:
    """A process that logs one model; `target` is its `module:function`. `close` ends it."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.child: Child | None = None

    def close(self) -> None:
        if self.child:
            self.child.process.kill()
            self.child.process.join()

    def warm_up(self) -> Child:
        """Has the process load what it needs, which takes longer than what it does."""
        if self.child is None:
            self.child = Child(self.target)
        return self.child

    def log(self, request: ModelRequest, progress: Progress) -> float:
        """Logs a model; returns the seconds that it took.

        An error becomes a line for the user, or ReportedError if the model was to be registered.
        """
        started = time.monotonic()
        progress.step("best model to MLflow", 0, 1)
        child = self.warm_up().begin(request)
        try:
            child.process.join()
            told = list(child.messages())
            failed = [message.text for message in told if isinstance(message, Failed)]
            said = [message.text for message in told if isinstance(message, Say)]
            code = child.process.exitcode
        except KeyboardInterrupt:
            failed, said, code = ["interrupted"], [], None
        for text in said:
            progress.say(text)
        if failed or code:
            reason = failed[0] if failed else f"its process ended with exit code {code}"
            if request.register:
                raise ReportedError(f"{request.register!r} is not registered: {reason}", 1)
            progress.say(f"the best model is not in MLflow: {reason}; 'kdsearch sync' logs it")
        progress.step("best model to MLflow", 1, 1)
        return time.monotonic() - started
