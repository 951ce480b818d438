"""What a user sees of a study in MLflow, in a real browser.

Pictures of the pages lie in pytest's own folder for temporary files, or in KDSEARCH_TEST_PICTURES.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from socket import socket
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from tests.invented import FINALISTS_COUNT, SEEDS, invent
from tests.servers import mlflow_server, wait_until

DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(DRIVER is None, reason="needs Debian's chromium and chromium-driver"),
]
FLAGS = """--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1700,2000"""
TRIALS = 180  # more than 100 of them are complete
SHOWN = 100
HEADINGS = [f"The best trials, {SHOWN} at most (1)", "Each loss (2)", "Sizes and curves (3)"]

COLUMNS = """
return [...document.querySelectorAll(".js-plotly-plot")].flatMap(
    plot => plot.data.filter(trace => trace.mode === "markers").flatMap(trace => trace.x))
"""

LOG = """
import sys
from pathlib import Path
from kdsearch.mirror.model import ModelFacts, log_model

uri, run, folder = sys.argv[1:]
for name in ("student.onnx", "config.json"):
    Path(folder, name).write_text("{}")
facts = ModelFacts("Trial of **a test**.", {"input": "images", "classes": "0, 1"}, {}, 11, ("0", "1"), [])
print(log_model(uri, run, Path(folder), facts))
"""


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    for flag in FLAGS.split():
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def picture(browser, tmp_path_factory):
    """Keeps a picture of the page as it is."""
    given = os.environ.get("KDSEARCH_TEST_PICTURES")
    folder = Path(given) if given else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return lambda name: browser.save_screenshot(str(folder / f"{name}.png"))


def kdsearch_ui(folder, *options):
    command = [sys.executable, "-m", "kdsearch", "ui", "--no-browser", *options]
    return subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return folder, invent(f"sqlite:///{folder / 'kdsearch.db'}", TRIALS)


@pytest.fixture(scope="module")
def address(study):
    """What `kdsearch ui` prints, while it runs."""
    with kdsearch_ui(study[0]) as process:
        yield process.stdout.readline().strip() or pytest.fail(process.stderr.read())
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


@contextmanager
def plain_mlflow_ui(folder):
    """The URL of `mlflow ui`, as a user starts it in that folder; without the jobs that take ten seconds."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen(
            command, cwd=folder, env=os.environ | settings, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        try:
            wait_until(lambda: answers(port), f"mlflow ui, see {folder / 'server.log'}")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def answers(port):
    try:
        return urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close() is None
    except OSError:
        return False


def text(browser):
    """Of the page, in one line; not by selenium's way, which takes seconds on a page of a hundred runs."""
    return " ".join(browser.execute_script("return document.body.innerText").split())


def wait_for(browser, *words):
    wait_until(lambda: all(word in text(browser) for word in words), f"a page with {words}")


def wait_for_charts(browser):
    drawn = ".js-plotly-plot, .parcoords"
    wait_until(lambda: len(browser.find_elements(By.CSS_SELECTOR, drawn)) >= 6, "six charts")
    wait_for(browser, *HEADINGS)


def server_and_experiment(address):
    return re.fullmatch(r"(http://[^/]*)/#/experiments/(\d+)/.*", address).groups()


def ranked(found):
    complete = [trial for trial in found.trials if trial.state.name == "COMPLETE"]
    return sorted(complete, key=lambda trial: -trial.value)


def test_one_address_opens_the_comparison(browser, picture, address, study):
    browser.get(address)
    wait_for_charts(browser)
    axes = ("distillation.loss", "student.family", "parameters", "macs", "final_accuracy", "kl.temperature")
    wait_for(browser, *axes)
    picture("comparison")
    shown, complete = text(browser), ranked(study[1])
    assert len(complete) > SHOWN
    assert f" {SHOWN} matching runs" in shown
    assert f"Best: trial {complete[0].number}, {100 * complete[0].value:.2f} %" in shown
    names = re.findall(r"Hide run #\w+ (.*?) (?=Hide run|\d+ matching|Load more)", shown)
    assert names[0].startswith(f"\N{BLACK STAR} {complete[0].number:03d} ")
    numbers = [int(name.lstrip("\N{BLACK STAR} ")[:3]) for name in names]
    assert numbers == [trial.number for trial in complete[: len(numbers)]]


def test_the_note_leads_to_the_seeds_of_the_finalists(browser, picture, address):
    """A column of points for each finalist, a point for each of its seeds."""
    browser.get(address)
    link = By.LINK_TEXT, "Each seed of the finalists"
    wait_until(lambda: browser.find_elements(*link), "the link in the note")
    browser.get(browser.find_element(*link).get_attribute("href"))
    wait_for(browser, "Each seed of the finalists (2)", f" {FINALISTS_COUNT * SEEDS} matching runs")
    wait_until(lambda: browser.execute_script(COLUMNS), "the points")
    picture("finalists")
    columns = Counter(browser.execute_script(COLUMNS))
    assert sorted(columns.values()) == [SEEDS] * FINALISTS_COUNT
    assert all(re.fullmatch(r"trial \d+", name) for name in columns)


def test_compare_opens_on_accuracy(browser, picture, address, study):
    """The page behind the Compare button, with a trial of each loss."""
    server, experiment = server_and_experiment(address)
    chosen = {trial.params["distillation.loss"]: trial.number for trial in ranked(study[1])}
    client = MlflowClient(server)
    runs = [
        client.search_runs([experiment], f"tags.trial = '{number}'")[0].info.run_id
        for number in chosen.values()
    ]
    browser.get(f"{server}/#/compare-runs?runs={json.dumps(runs)}&experiments={json.dumps([experiment])}")
    wait_for(browser, "Parallel Coordinates Plot")
    picture("compare")
    assert "Metrics: final_accuracy" in text(browser), text(browser)


def test_the_models_page_shows_the_last_epoch(browser, picture, address, study, tmp_path):
    server, experiment = server_and_experiment(address)
    best = ranked(study[1])[0]
    (run,) = MlflowClient(server).search_runs([experiment], f"tags.trial = '{best.number}'")
    command = [sys.executable, "-Wignore", "-c", LOG, server, run.info.run_id, str(tmp_path)]
    model = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("models:/")[1]
    browser.get(f"{server}/#/experiments/{experiment}/models/{model.strip()}?workflowType=machine_learning")
    wait_for(browser, "final_accuracy", "parameters", "macs", "Trial of a test.")
    picture("model")
    shown = text(browser)
    for name in ("final_accuracy", "val_accuracy"):
        assert f" {name} - {run.info.run_name} {best.value}" in shown, shown
    assert f"{best.intermediate_values[0]}" not in shown


def test_the_page_of_a_tracking_server(browser, picture, tmp_path):
    found = invent(f"sqlite:///{tmp_path / 'kdsearch.db'}", 20)
    (tmp_path / "server").mkdir()
    with mlflow_server(tmp_path / "server") as server:
        with kdsearch_ui(tmp_path, "--tracking-uri", server.uri) as process:
            told, problem = process.communicate(timeout=120)
        assert process.returncode == 0, problem
        page = told.strip()
        assert page.startswith(f"{server.uri}/#/experiments/")
        browser.get(page)
        wait_for_charts(browser)
        picture("tracking-server")
        assert f" {len(ranked(found))} matching runs" in text(browser)
    assert not (tmp_path / "mlflow.db").exists()


def test_plain_mlflow_ui_opens_the_same_store(browser, picture, address, study):
    """Its own list of runs has the parent, whose trials fold out."""
    _, experiment = server_and_experiment(address)
    with plain_mlflow_ui(study[0]) as url:
        browser.get(f"{url}/#/experiments/{experiment}/runs?workflowType=machine_learning")
        wait_until(lambda: re.search(r" [1-9]\d* matching runs", text(browser)), "the runs")
        rows = By.CSS_SELECTOR, ".ag-center-cols-container .ag-row, .ag-pinned-left-cols-container .ag-row"
        wait_until(lambda: any("invented" in row.text for row in browser.find_elements(*rows)), "the parent")
        picture("plain-mlflow-ui")
        assert f"Best: trial {ranked(study[1])[0].number}, " in text(browser)
