"""How long `kdsearch ui` and its page take, from the command to the drawn charts.

    python benchmarks/comparison.py            1,000 and 100 invented trials, three times each
    python benchmarks/comparison.py --quick    20 trials once; keeps nothing

Each time: the command is started in a folder whose MLflow has every trial already, and the time is taken
until it prints the address; then Chromium, headless, opens the address, and the time is taken until the runs
are listed and all charts are drawn. Needs chromium and chromium-driver of Debian, and selenium.

Prints the medians in seconds. Keeps `benchmarks/results/comparison.json`.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.invented import invent

RESULTS = Path(__file__).parent / "results" / "comparison.json"
FLAGS = """--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1700,2600"""
CHARTS = 6
PATIENCE_SECONDS = 60.0


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, float]]:
    """The address that `kdsearch ui` prints, and the seconds until then."""
    command = [sys.executable, "-m", "kdsearch", "ui", "--no-browser"]
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        yield address, time.perf_counter() - started
        process.send_signal(signal.SIGINT)


def waited(condition: Callable[[], bool], started: float) -> float:
    """Seconds from `started` until the condition holds."""
    while not condition():
        assert time.perf_counter() - started < PATIENCE_SECONDS, "the page does not come"
        time.sleep(0.05)
    return time.perf_counter() - started


def opened(address: str) -> dict[str, float]:
    """Seconds until the runs are listed, and until the charts are drawn, in a fresh browser."""
    options = webdriver.ChromeOptions()
    for flag in FLAGS.split():
        options.add_argument(flag)
    with webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver")) as browser:
        browser.get("about:blank")
        started = time.perf_counter()
        browser.get(address)
        listed = waited(lambda: "matching runs" in browser.find_element(By.TAG_NAME, "body").text, started)
        plots = ".js-plotly-plot, .parcoords"
        drawn = waited(lambda: len(browser.find_elements(By.CSS_SELECTOR, plots)) >= CHARTS, started)
    return {"runs listed": listed, "charts drawn": drawn}


def measured(trials: int, times: int) -> dict[str, float]:
    """Medians over so many times."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        invent(f"sqlite:///{folder / 'kdsearch.db'}", trials)
        with serving(folder):
            pass  # the first call fills MLflow
        rounds = []
        for _ in range(times):
            with serving(folder) as (address, seconds):
                rounds.append({"address printed": seconds, **opened(address)})
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 trials once; keeps nothing")
    quick = parser.parse_args().quick
    results = {}
    for trials in (20,) if quick else (100, 1000):
        results[str(trials)] = measured(trials, 1 if quick else 3)
        told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in results[str(trials)].items())
        print(f"{trials:5} trials: {told}", flush=True)
    if not quick:
        RESULTS.write_text(json.dumps({"mlflow": version("mlflow"), "trials": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
