"""What is listed of the cache, and what of it is cleared."""

import subprocess
import sys

import pytest

from kdsearch.cache import locked, making
from kdsearch.errors import UsageError
from kdsearch.files import cache_root
from kdsearch.inspect.cached import clear_cache, look_at_cache
from kdsearch.run.preparing import prepare
from kdsearch.run.protocol import Channel, Request

SETTINGS = {
    "data.train_images": 40,
    "distillation.loss": "kl",
    "teacher.model": "mobilenet_v3_small",
    "teacher.epochs": 1,
    "training.epochs": 2,
    "views.count": 1,
}
HOLD = """
import sys
from pathlib import Path
from kdsearch.cache import hold
hold(Path(sys.argv[1]))
print("held", flush=True)
input()
"""


class Deaf(Channel):
    def __init__(self):
        pass

    def send(self, message):
        pass


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'kdsearch.db'}"


@pytest.fixture
def study(url):
    """A study with images, a teacher and a view."""
    own = {"name": "needs", "run.storage": url, "run.device": "cpu", "run.trials": 1}
    prepare(Request(study="digits", values={**SETTINGS, **own}), Deaf())
    return "needs"


@pytest.fixture
def forgotten():
    """Entries of studies that are no more, with what a killed process left of one."""

    def make(kind, name):
        with locked(cache_root() / kind / name), making(cache_root() / kind / name, 0) as folder:
            (folder / "file").write_bytes(bytes(3 * 2**20))
        return cache_root() / kind / name

    made = [make(kind, "a" * 20) for kind in ("data", "teachers", "views", "downloads", "unpacked")]
    half = cache_root() / "data" / f".{'b' * 20}.0123abcd"
    half.mkdir()
    return [*made, half]


def test_entries_are_listed_with_the_studies_that_need_them(study, url, forgotten):
    report = look_at_cache(url)
    needed = {each.kind for each in report.entries if each.studies == (study,)}
    assert needed == {"data", "teachers", "views"}
    idle = [each.path.name for each in report.unneeded]
    assert idle.count("a" * 20) == 5
    assert all(each.size >= 3 * 2**20 for each in report.unneeded if each.path.exists())


def test_what_no_study_needs_is_cleared_with_what_is_left_of_it(study, url, forgotten):
    kept = {each.path for each in look_at_cache(url).entries if each.studies}
    assert {each.path.name for each in clear_cache(url)} == {"a" * 20, "b" * 20}
    assert not any(path.exists() for path in forgotten)
    assert {each.path for each in look_at_cache(url).entries} == kept
    assert all(path.is_dir() for path in kept)
    assert not list(cache_root().glob(f"*/.{'a' * 20}.lock"))


def test_what_a_living_process_reads_or_makes_stays(study, url, forgotten):
    read, made = forgotten[0], forgotten[1]
    reader = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(read)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout.readline() == "held\n"
    with locked(made):
        cleared = {each.path for each in clear_cache(url)}
    reader.communicate("\n")
    assert {read, made} & cleared == set()
    assert read.exists()
    assert made.exists()
    assert {each.path for each in clear_cache(url)} == {read, made}


def test_what_is_not_kdsearch_s_is_neither_listed_nor_cleared(study, url, tmp_path):
    """A user may let KDSEARCH_CACHE name a folder that has a folder `data` already."""
    mine = cache_root() / "data" / "photos" / "a.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    assert "photos" not in {each.path.name for each in look_at_cache(url).entries}
    clear_cache(url)
    assert mine.read_bytes() == b"mine"


def test_without_a_study_nothing_is_cleared(url, forgotten):
    assert len(look_at_cache(url).unneeded) == len(forgotten)
    with pytest.raises(UsageError, match="no study in this database"):
        clear_cache(url)
    assert all(path.exists() for path in forgotten)


def test_an_empty_cache_is_empty(url):
    assert look_at_cache(url).entries == ()
