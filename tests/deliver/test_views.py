"""What `kdsearch views` proves of the views that a run has made."""

import shutil

import pytest

from kdsearch.errors import CacheDamagedError
from kdsearch.inspect.views import look_at_views
from kdsearch.progress import Silence
from kdsearch.run.preparing import prepare
from kdsearch.run.protocol import Channel, Request
from kdsearch.store.studies import find

SETTINGS = {
    "data.train_images": 40,
    "distillation.loss": "kl",
    "teacher.model": "mobilenet_v3_small",
    "teacher.epochs": 1,
    "training.epochs": 4,
    "views.count": 3,
}


class Heard(Channel):
    """Keeps what is said."""

    def __init__(self):
        self.said = []

    def send(self, message):
        pass

    def say(self, text):
        self.said.append(text)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'kdsearch.db'}"


@pytest.fixture
def run(url):
    """Prepares the study as `kdsearch run` does; returns the lines that were said."""

    def prepared():
        heard = Heard()
        own = {"name": "looked", "run.storage": url, "run.device": "cpu", "run.trials": 1}
        prepare(Request(study="digits", values={**SETTINGS, **own}), heard)
        return heard.said

    return prepared


@pytest.fixture
def look(url):
    def report():
        return look_at_views(*find("looked", url), Silence(), data=None, on="cpu")

    return report


def test_all_views_are_proved_and_run_makes_the_damaged_ones_again(run, look):
    run()
    report = look()
    assert report.made == (0, 1, 2)
    assert report.checked == 2
    for number in (0, 1):
        file = report.folder / f"view-{number:04d}" / "teacher.logits.npy"
        file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(
        CacheDamagedError, match=r"^2 of 3 views are damaged: .*view-0000.*view-0001.*'kdsearch run'"
    ):
        look()
    said = [line for line in run() if "damaged" in line]
    assert len(said) == 2
    assert all(line.endswith("removed; kdsearch makes it again") for line in said)
    assert look() == report


def test_views_that_are_not_made_are_none(run, look):
    run()
    shutil.rmtree(look().folder)
    assert look().made == ()
