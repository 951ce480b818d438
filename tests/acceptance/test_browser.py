"""What a user sees of a study in MLflow, in a real browser; KDSEARCH_TEST_PICTURES keeps the pictures."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from tests.invented import invent
from tests.servers import wait_until

DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(DRIVER is None, reason="needs Debian's chromium and chromium-driver"),
]
FLAGS = """--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1700,2600"""
TRIALS = 40


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    for flag in FLAGS.split():
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@contextmanager
def serving(folder):
    """`kdsearch ui` in that folder; yields the address that it prints."""
    command = [sys.executable, "-m", "kdsearch", "ui", "--no-browser"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, text=True, **pipes) as process:
        address = process.stdout.readline().strip()
        if not address:
            pytest.fail(process.stderr.read())
        yield address
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return folder, invent(f"sqlite:///{folder / 'kdsearch.db'}", TRIALS)


@pytest.fixture(scope="module")
def address(study):
    with serving(study[0]) as url:
        yield url


def picture(browser, name):
    if folder := os.environ.get("KDSEARCH_TEST_PICTURES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(Path(folder, f"{name}.png")))


def text(browser):
    """Of the page, in one line."""
    return " ".join(browser.find_element(By.TAG_NAME, "body").text.split())


def plots(browser):
    return browser.find_elements(By.CSS_SELECTOR, ".js-plotly-plot, svg.parcoords, .parcoords")


def complete(found):
    return [trial for trial in found.trials if trial.state.name == "COMPLETE"]


def test_one_address_opens_the_comparison(browser, address, study):
    browser.get(address)
    headings = ["All trials (1)", "Each loss (2)", "Sizes and curves (3)"]
    wait_until(lambda: all(heading in text(browser) for heading in headings), "the charts' headings")
    wait_until(lambda: len(plots(browser)) >= 6, "six charts")
    axes = ("distillation.loss", "student.family", "parameters", "macs", "final_accuracy", "kl.temperature")
    wait_until(lambda: all(axis in text(browser) for axis in axes), "the axes")
    picture(browser, "comparison")
    shown = text(browser)
    best = max(complete(study[1]), key=lambda trial: trial.value)
    assert f"{len(complete(study[1]))} matching runs" in shown
    assert f"Best: trial {best.number}, {100 * best.value:.2f} %" in shown
    names = re.findall(r"Hide run #\w+ (.*?) (?=Hide run|\d+ matching)", shown)
    ranked = sorted(complete(study[1]), key=lambda trial: -trial.value)
    assert names[0].startswith(f"\N{BLACK STAR} {best.number:03d} ")
    assert [name.lstrip("\N{BLACK STAR} ")[:3] for name in names] == [f"{each.number:03d}" for each in ranked]


def test_compare_opens_on_accuracy(browser, address, study):
    """The page behind the Compare button, with a trial of each loss."""
    server, experiment = re.fullmatch(r"(http://[^/]*)/#/experiments/(\d+)/.*", address).groups()
    chosen = {trial.params["distillation.loss"]: trial.number for trial in complete(study[1])}
    client = MlflowClient(server)
    runs = [
        client.search_runs([experiment], f"tags.trial = '{number}'")[0].info.run_id
        for number in chosen.values()
    ]
    browser.get(f"{server}/#/compare-runs?runs={json.dumps(runs)}&experiments={json.dumps([experiment])}")
    wait_until(lambda: "Parallel Coordinates Plot" in text(browser), "the Compare page")
    picture(browser, "compare")
    assert "Metrics: final_accuracy" in text(browser), text(browser)
