import shutil

import pytest
from filelock import FileLock, Timeout

from kdsearch.cache import digest, entry, locked, making
from kdsearch.errors import KdsearchError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_entry_lies_in_the_folder_of_its_kind(tmp_path):
    assert entry("views", "a", "b") == tmp_path / "cache" / "views" / "a" / "b"


def test_a_digest_depends_on_every_part_and_not_on_the_order_of_keys():
    assert digest({"a": 1, "b": 2}, 3) == digest({"b": 2, "a": 1}, 3)
    assert len({digest(1, 2), digest(2, 1), digest([1, 2]), digest("1", 2), digest(1, 2, None)}) == 5
    assert len(digest(1)) == 20


def test_an_entry_appears_whole(tmp_path):
    path = tmp_path / "kind" / "key"
    with making(path, 10) as folder:
        (folder / "a").write_text("a")
        assert not path.exists()
        (folder / "b").write_text("b")
    assert names(path) == ["a", "b"]
    assert names(path.parent) == ["key"]


def test_a_failure_leaves_nothing(tmp_path):
    path = tmp_path / "kind" / "key"
    with pytest.raises(ZeroDivisionError), making(path, 10) as folder:
        (folder / "a").write_text("a")
        raise ZeroDivisionError
    assert names(path.parent) == []


def test_a_disk_that_is_too_full_is_named_with_what_is_missing(tmp_path):
    size = shutil.disk_usage(tmp_path).free + 3 * 2**30
    with (
        pytest.raises(
            KdsearchError, match=r"GiB too little free disk for the cache; .*KDSEARCH_CACHE"
        ) as told,
        making(tmp_path / "kind" / "key", size),
    ):
        pytest.fail("it began")
    assert str(told.value).startswith(str(tmp_path / "kind"))
    assert names(tmp_path / "kind") == []


def test_a_locked_entry_is_one_process_s(tmp_path):
    path = tmp_path / "kind" / "key"
    other = FileLock(path.with_name(".key.lock"))
    with locked(path), pytest.raises(Timeout):
        other.acquire(timeout=0)
    with other.acquire(timeout=0):
        assert not path.exists()
