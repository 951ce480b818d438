"""`kdsearch cache` as it is typed."""

import pytest
from click.testing import CliRunner

from kdsearch.cache import entry, locked, making
from kdsearch.cli import main
from kdsearch.run.creating import create_study
from kdsearch.store.facts import DataFacts
from kdsearch.store.storage import open_storage
from kdsearch.study.file import load_study

FACTS = {"name": "digits", "fingerprint": "f", "train": 9, "validation": 3, "image_size": 8, "channels": 1}


@pytest.fixture
def url(tmp_path):
    """A database with one study, `digits`."""
    url = f"sqlite:///{tmp_path / 'kdsearch.db'}"
    storage = open_storage(url, create=True)
    create_study(storage, load_study("digits", {}), DataFacts(**FACTS, classes=("a", "b")), views=1)
    storage.engine.dispose()
    return url


@pytest.fixture
def run(url):
    return lambda *args, **how: CliRunner().invoke(main, ["cache", "--storage", url, *args], **how)


@pytest.fixture
def unneeded():
    path = entry("teachers", "0" * 20)
    with locked(path), making(path, 0) as folder:
        (folder / "teacher.safetensors").write_bytes(bytes(2**21))
    return path


def test_it_lists_sizes_and_says_what_can_go(run, unneeded):
    told = run()
    assert told.exit_code == 0
    assert unneeded.name in told.output
    assert "needs 1 entry, 3 MiB; --clear removes that." in told.output


def test_it_asks_before_it_clears(run, unneeded):
    refused = run("--clear", input="n\n")
    assert refused.exit_code == 1
    assert unneeded.exists()
    agreed = run("--clear", input="y\n")
    assert agreed.exit_code == 0
    assert "removed 1 entry, 3 MiB" in agreed.output
    assert not unneeded.exists()
    assert "0 entries, 0 MiB in" in run().output


def test_nothing_is_cleared_for_a_database_that_is_not_there(run, unneeded, tmp_path):
    (tmp_path / "kdsearch.db").unlink()
    told = run("--clear", "--yes")
    assert told.exit_code == 2
    assert told.output.startswith("Error: no study in this database")
    assert unneeded.exists()
