"""How long `kdsearch ui` and its page take, beside MLflow's own server and its plain page of runs.

    python benchmarks/comparison.py            1,000 and 100 invented trials, five rounds each
    python benchmarks/comparison.py --quick    20 trials, one round

All trials are in MLflow already. In each round every server is started in turn, and the time is taken until
it answers; `kdsearch ui` until it prints its address. Then Chromium, headless, 1920 x 1080, opens two pages
of kdsearch's server, each in a new process: the plain page of the experiment's runs, until they are listed,
and the comparison, until they are listed and until all charts within the window are drawn. Needs Debian's
chromium and chromium-driver, and selenium. Prints medians and the range, in seconds; keeps
`benchmarks/results/comparison.json`.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from socket import socket

from paired import Kept, machine
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.invented import invent

RESULTS = Path(__file__).parent / "results" / "comparison.json"
ROUNDS = 5
FLAGS = """--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1920,1080"""
IN_WINDOW = 3  # charts: all trials, and one for each loss that has parameters
PLOTS = ".js-plotly-plot, .parcoords"
PATIENCE_SECONDS = 120.0
LIMIT_SECONDS = 5
MLFLOW = {  # how a user would start MLflow's own server, and with no more than kdsearch's one runs
    "mlflow server": {},
    "mlflow server, one worker, no jobs": {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_WORKERS": "1",
    },
}


@contextmanager
def kdsearch_ui(folder: Path) -> Iterator[tuple[str, float]]:
    """The address that it prints, and the seconds until then."""
    command = [sys.executable, "-m", "kdsearch", "ui", "--no-browser"]
    started = time.perf_counter()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        assert address, process.stderr.read()
        yield address, time.perf_counter() - started
        process.terminate()


def mlflow_server(folder: Path, settings: dict[str, str]) -> float:
    """Seconds until MLflow's own server answers."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = "--backend-store-uri sqlite:///mlflow.db"
    command = [sys.executable, "-m", "mlflow", "server", *store.split(), "--port", str(port)]
    environment = os.environ | settings | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    started = time.perf_counter()
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        ) as server,
    ):
        try:
            return waited(lambda: answers(port), started)
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def answers(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
        return True
    return False


def waited(condition: Callable[[], bool], started: float) -> float:
    """Seconds from `started` until the condition holds."""
    while not condition():
        assert time.perf_counter() - started < PATIENCE_SECONDS, "it does not come"
        time.sleep(0.05)
    return time.perf_counter() - started


def opened(address: str, charts: int) -> tuple[float, float]:
    """Seconds until the runs are listed, and until so many charts are drawn, in a new browser."""
    options = webdriver.ChromeOptions()
    for flag in FLAGS.split():
        options.add_argument(flag)
    with webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver")) as browser:
        browser.get("about:blank")
        started = time.perf_counter()
        browser.get(address)
        # The text without a layout, which asking for it would cost the page.
        said = r"return /[1-9]\d*\s*matching runs/.test(document.body.textContent)"
        listed = waited(lambda: bool(browser.execute_script(said)), started)
        return listed, waited(lambda: len(browser.find_elements(By.CSS_SELECTOR, PLOTS)) >= charts, started)


def measured(folder: Path) -> dict[str, float]:
    """One round."""
    seconds = {name: mlflow_server(folder, settings) for name, settings in MLFLOW.items()}
    with kdsearch_ui(folder) as (address, seconds["kdsearch ui"]):
        plain = address.partition("?")[0] + "?workflowType=machine_learning"
        seconds["plain page, runs listed"] = opened(plain, 0)[0]
        seconds["comparison, runs listed"], seconds["comparison, charts drawn"] = opened(address, IN_WINDOW)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 trials, one round; keeps nothing")
    quick = parser.parse_args().quick
    kept = Kept(
        None if quick else RESULTS,
        {"mlflow": version("mlflow"), "rounds": ROUNDS, "window": "1920 x 1080"},
        machine().partition(";")[0],
    )
    for trials in (20,) if quick else (100, 1000):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            invent(f"sqlite:///{folder / 'kdsearch.db'}", trials)
            with kdsearch_ui(folder):
                pass  # the first call fills MLflow
            names = [f"{trials:04} trials, round {number}" for number in range(1 if quick else ROUNDS)]
            for name in names:
                if name not in kept.parts:
                    kept.add(name, {what: round(each, 2) for what, each in measured(folder).items()})
        rounds = [kept.parts[name] for name in names]
        print(f"{trials} trials, seconds:")
        for what in rounds[0]:
            values = sorted(each[what] for each in rounds)
            low, median, high = values[0], statistics.median(values), values[-1]
            told = f"{median:6.1f}  ({low:.1f} to {high:.1f})"
            limited = what in ("kdsearch ui", "comparison, charts drawn")
            limit = f", below {LIMIT_SECONDS}: {'reached' if median < LIMIT_SECONDS else 'NOT REACHED'}"
            print(f"  {what:36}{told}{limit if limited else ''}", flush=True)


if __name__ == "__main__":
    main()
