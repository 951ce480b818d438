import os
import resource
import shutil
import signal
import subprocess
import sys
from functools import partial

import psutil
import pytest
from filelock import FileLock, Timeout

from kdsearch.cache import SUMS, amount, check, digest, entry, hold, locked, making, sound
from kdsearch.errors import CacheDamagedError, KdsearchError, UsageError


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
    assert names(path) == ["a", "b", SUMS]
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


@pytest.fixture
def made(tmp_path):
    """An entry with a large file, and a small one in a folder."""
    path = tmp_path / "kind" / "key"
    with making(path, 10) as folder:
        (folder / "large").write_bytes(bytes(range(256)) * 2**13)
        (folder / "part").mkdir()
        (folder / "part" / "small").write_bytes(b"small")
    return path


@pytest.mark.parametrize("name", ["large", "part/small", SUMS])
def test_an_entry_with_a_damaged_file_is_said_in_a_line_and_removed(made, damage, name):
    check(made, wholly=True)
    said = []
    assert sound(made, said.append)
    damage(made / name)
    with locked(made):
        assert not sound(made, said.append)
        assert not sound(made, said.append)  # it is not there any more
    (line,) = said
    assert line.startswith(f"{made / name}: damaged (")
    assert line.endswith("; removed; kdsearch makes it again")
    assert "\n" not in line
    assert names(made.parent) == [".key.lock"]


def test_sizes_and_small_files_are_compared_at_each_opening(made):
    check(made, wholly=False)
    content = bytearray((made / "large").read_bytes())
    content[1000] ^= 1
    (made / "large").write_bytes(content)
    check(made, wholly=False)
    with pytest.raises(CacheDamagedError, match="large: damaged"):
        check(made, wholly=True)
    (made / "part" / "small").write_bytes(b"Small")
    with pytest.raises(CacheDamagedError, match="small: damaged"):
        check(made, wholly=False)


def test_an_entry_of_an_earlier_version_has_no_sums_and_is_not_believed(tmp_path):
    (tmp_path / "key").mkdir()
    with pytest.raises(CacheDamagedError, match="No such file"):
        check(tmp_path / "key", wholly=False)


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_who_may_read_an_entry_is_the_umask_s_choice(tmp_path, umask):
    before = os.umask(umask)
    try:
        with making(tmp_path / "key", 0) as folder:
            (folder / "file").write_text("a")
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "key", tmp_path / "key" / "file")]
    assert modes == [0o777 & ~umask, 0o666 & ~umask]


def test_what_a_killed_process_has_half_made_goes_when_the_entry_is_locked_next(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from kdsearch.cache import locked, making\n"
        "path = Path(sys.argv[1])\n"
        "with locked(path), making(path, 0) as folder:\n"
        "    (folder / 'half').write_text('half'); print('writing', flush=True); time.sleep(600)"
    )
    path = tmp_path / "kind" / "key"
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    with child.stdout:
        assert child.stdout.readline() == "writing\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
    (path.parent / ".other.0123abcd").mkdir()  # of another entry, which somebody may be making
    assert len(names(path.parent)) == 3
    with locked(path):
        assert names(path.parent) == [".key.lock", ".other.0123abcd"]


def test_a_lock_whose_file_was_removed_is_taken_anew(tmp_path):
    """Else two processes would each believe that they are alone."""
    path = tmp_path / "kind" / "key"
    code = (
        "import sys; from pathlib import Path; from kdsearch.cache import locked\n"
        "with locked(Path(sys.argv[1])): print(Path(sys.argv[1]).with_name('.key.lock').exists())"
    )
    with locked(path):
        child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        waiting, lock = psutil.Process(child.pid), str(path.with_name(".key.lock"))
        while lock not in {file.path for file in waiting.open_files()}:
            assert child.poll() is None
        path.with_name(".key.lock").unlink()
    assert child.communicate()[0] == "True\n"


def test_a_lock_that_is_held_need_not_be_waited_for(tmp_path):
    path = tmp_path / "kind" / "key"
    with locked(path), pytest.raises(BlockingIOError), locked(path, wait=False):
        pytest.fail("two hold it")


def test_what_is_held_is_known_to_others(made):
    assert hold(made) is not None
    assert hold(made.with_name("none")) is None


def test_a_file_that_may_not_grow_is_one_line_with_the_cure(tmp_path):
    """As a full disk or a quota, which need a file system of their own."""
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with (
            pytest.raises(KdsearchError, match=r"no room for the cache \(File too large\); .*KDSEARCH_CACHE"),
            making(tmp_path / "kind" / "key", 0) as folder,
        ):
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, most))
            (folder / "file").write_bytes(bytes(2**20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
        signal.signal(signal.SIGXFSZ, handler)
    assert names(tmp_path / "kind") == []


@pytest.mark.parametrize(
    ("size", "shown"),
    [(1, "1 MiB"), (2**20, "1 MiB"), (2**20 + 1, "2 MiB"), (2**30, "1.0 GiB"), (0, "0 MiB")],
)
def test_an_amount_is_never_nothing_where_something_is_missing(size, shown):
    assert amount(size) == shown


@pytest.mark.parametrize("use", [locked, partial(making, size=0)])
def test_a_folder_of_the_cache_that_cannot_be_written_is_one_line(tmp_path, use):
    """As one of another user's, in a cache whose root all may write to."""
    (tmp_path / "kind").write_text("no folder")
    with pytest.raises(UsageError, match=r"kind: cannot be written to .*KDSEARCH_CACHE"):
        use(tmp_path / "kind" / "key").__enter__()
