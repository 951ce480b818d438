"""MLflow's own server for a store without one, until the caller leaves the block."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import SO_REUSEADDR, SOL_SOCKET, socket
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TYPE_CHECKING, NoReturn
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from kdsearch.errors import KdsearchError, StoppedError, UsageError
from kdsearch.urls import cleaned

if TYPE_CHECKING:
    from fastapi import FastAPI

HOST = "127.0.0.1"
USUAL_PORT = 5000  # MLflow's own
PATIENCE_SECONDS = 120.0
STOPPING_SECONDS = 10.0
NO_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # whose workers take ten seconds to start


class ServerError(KdsearchError):
    """MLflow's server did not start."""


class Server:
    """A running server of MLflow; `url` answers after `wait_until_ready`."""

    def __init__(self, process: subprocess.Popen[bytes], uri: str, url: str, log: Path) -> None:
        self.process, self.uri, self.url, self.log = process, uri, url, log

    def wait_until_ready(self) -> None:
        """Returns once it answers. Raises ServerError if it ends first, or is silent for two minutes."""
        ask, deadline = build_opener(ProxyHandler({})).open, time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with suppress(URLError, OSError), ask(f"{self.url}/health", timeout=5):
                return
            time.sleep(0.05)
        raise ServerError(f"MLflow's server did not start: {self._last_line()}")

    def _last_line(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no answer"]
        return cleaned(lines[-1], self.uri)

    def wait(self) -> None:
        """Returns on Ctrl-C, which is the way to end it. Raises ServerError if it ends by itself."""
        with suppress(KeyboardInterrupt):
            self.process.wait()
            raise ServerError(f"MLflow's server ended unexpectedly: {self._last_line()}")


@contextmanager
def serving(uri: str, port: int | None) -> Iterator[Server]:
    """Starts a server over the store `uri` on the loopback; it ends with the block.

    `port` is MLflow's usual one or a free one, if it is None. Raises UsageError if it is taken, and
    StoppedError on SIGTERM or SIGHUP, so that no server outlives its caller.
    """
    chosen = _free_port(port)
    # With uvicorn in the process MLflow takes it for a server, and checks hosts and origins.
    options = f"uvicorn --factory kdsearch.mirror.server:app --host {HOST} --port {chosen}".split()
    with TemporaryDirectory(prefix="kdsearch-ui.") as folder:
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *options],
                stdout=output,
                stderr=output,
                # Not as an option: whoever lists the processes would see a password.
                env={**NO_JOBS, **os.environ, "MLFLOW_BACKEND_STORE_URI": uri},
                start_new_session=True,
            )
        numbers = [signal.SIGTERM, signal.SIGHUP]
        wanted = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]  # `nohup`
        handlers = {number: signal.signal(number, _stop) for number in wanted}
        try:
            yield Server(process, uri, f"http://{HOST}:{chosen}", log)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(STOPPING_SECONDS)
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise StoppedError("stopped", number)


def _free_port(wanted: int | None) -> int:
    for port in [wanted] if wanted else [USUAL_PORT, 0]:
        with socket() as probe, suppress(OSError):
            probe.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)  # a port that was just left is free
            probe.bind((HOST, port))
            free: int = probe.getsockname()[1]
            return free
    raise UsageError(f"--port {wanted}: another program uses this port; leave --port out for a free one")


def app() -> "FastAPI":
    """MLflow's app over the store MLFLOW_BACKEND_STORE_URI, which is made if it is new; for uvicorn.

    It is what `mlflow server` runs, with one import of MLflow, not two.
    """
    from mlflow.server import constants, fastapi_app  # noqa: PLC0415  the server's process alone
    from mlflow.server.handlers import initialize_backend_stores  # noqa: PLC0415

    from kdsearch.mirror.store import open_client  # noqa: PLC0415

    uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
    open_client(uri)  # under kdsearch's lock; MLflow then finds nothing to make
    artifacts = {  # MLflow's own defaults; only what a tracking server logs goes there
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        constants.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: "./mlartifacts",
    }
    os.environ.update(artifacts | {constants.BACKEND_STORE_URI_ENV_VAR: uri})
    initialize_backend_stores(uri, uri, artifacts[constants.ARTIFACT_ROOT_ENV_VAR])
    served: FastAPI = fastapi_app.app
    return served
