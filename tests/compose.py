"""The services of docker-compose.yml, read, and started as ordinary processes."""

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic

import psutil
import yaml

from tests.servers import wait_until

ROOT = Path(__file__).parents[1]
PASSWORD = "p@ss/w:rd%"
TINY = "--trials 3 --set data.train_images=200 --set training.epochs=2 --set views.count=2"
TEACHER = "--set teacher.model=mobilenet_v3_small --set teacher.epochs=1"
USER = {"POSTGRES_PASSWORD": PASSWORD, "KDSEARCH_OPTIONS": f"{TINY} {TEACHER}"}


def services(given):
    """The services of the file, with `${NAME:-default}` and `${NAME:?message}` filled in from `given`."""

    def filled(match):
        name, kind, rest = match.groups()
        if kind == "?" and not given.get(name):
            raise LookupError(rest)
        return given.get(name) or rest

    file = (ROOT / "docker-compose.yml").read_text()
    return yaml.safe_load(re.sub(r"\$\{(\w+):([-?])([^}]*)\}", filled, file))["services"]


class Machine:
    """Starts the services' commands; `folder` stands for the containers' /var/lib and holds a log of each.

    Only addresses and folders are replaced. 127.0.0.2 stands for the name `mlflow`: the server accepts either
    only if it is told to.
    """

    def __init__(self, folder, socket_folder):
        with socket.socket() as free:
            free.bind(("127.0.0.2", 0))
            port = free.getsockname()[1]
        self.folder = folder
        self.running, self.seen, self.looked = [], set(), 0.0
        self.here = {
            "/var/lib/": f"{folder}/",
            "@postgres/kdsearch": f"@/kdsearch?host={socket_folder}",
            "--host 0.0.0.0 --port 5000": f"--host 127.0.0.2 --port {port}",
            "mlflow:5000": f"127.0.0.2:{port}",
        }
        (folder / "mlflow").mkdir()

    def environment(self, service):
        own = services(USER)[service].get("environment", {})
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"
        outside = {"PATH": path, "HOME": str(self.folder)}
        return outside | {key: self.replaced(value) for key, value in own.items()}

    def replaced(self, value):
        for there, here in self.here.items():
            value = value.replace(there, here)
        return value

    def start(self, service, name="", **changed):
        words = shlex.split(self.replaced(services(USER)[service]["command"]))
        with (self.folder / f"{name or service}.log").open("wb") as log:
            process = subprocess.Popen(
                words,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environment(service) | changed,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def finish(self, process, service):
        wait_until(lambda: self.look() or process.poll() is not None, service)
        assert process.returncode == 0, (self.folder / f"{service}.log").read_text()

    def look(self):
        """Remembers every command line of its processes and their children, at most once a second."""
        if monotonic() - self.looked < 1:
            return
        self.looked = monotonic()
        sessions = {process.pid for process in self.running}
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) in sessions:
                    self.seen.add(" ".join(process.cmdline()))
            except (psutil.Error, OSError):
                continue

    def is_healthy(self, service):
        _, *words = services(USER)[service]["healthcheck"]["test"]
        command, environment = [self.replaced(word) for word in words], self.environment(service)
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0

    def stop(self):
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, 9)
            process.wait()
