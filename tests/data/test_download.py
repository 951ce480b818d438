import hashlib
import os
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from kdsearch.data.download import Archive, located
from kdsearch.errors import DataError

CONTENT = bytes(range(256)) * 4096  # 1 MiB


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """Nothing: the test's output is not its log."""


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder with `set.bin`, and its address on loopback."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "set.bin").write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def archive(*urls, content=CONTENT):
    return Archive("Set", "set.bin", hashlib.md5(content).hexdigest(), urls)


def test_a_file_is_downloaded_once_with_progress(served, progress):
    folder, url = served
    path = located(archive(url + "set.bin"), None, progress)
    assert path.read_bytes() == CONTENT
    done = [step[1] for step in progress.steps]
    assert done == sorted(done)
    assert progress.steps[-1] == ("download set.bin", len(CONTENT), len(CONTENT))
    assert sum(done == total for _, done, total in progress.steps) == 1
    (folder / "set.bin").unlink()
    assert located(archive(url + "set.bin"), None, progress) == path


@pytest.mark.timeout(30)  # whoever opens a pipe waits for a writer
def test_what_is_no_file_in_the_place_of_a_published_one_is_named(tmp_path, progress):
    os.mkfifo(tmp_path / "set.bin")
    with pytest.raises(DataError, match=r"set\.bin: cannot be read \(Is a named pipe\); put the published"):
        located(archive(), tmp_path, progress)
    (tmp_path / "set.bin").unlink()
    (tmp_path / "set.bin").symlink_to("gone")
    with pytest.raises(DataError, match=r"set\.bin: cannot be read \(No such file or directory\); put"):
        located(archive(), tmp_path, progress)


def test_a_damaged_download_is_said_in_a_line_and_fetched_again(served, damage, heard):
    _, url = served
    path = located(archive(url + "set.bin"), None, heard)
    damage(path)
    assert located(archive(url + "set.bin"), None, heard).read_bytes() == CONTENT
    assert heard.said == [f"{path}: damaged; removed, kdsearch downloads it again"]
    assert located(archive(), None, heard) == path


def test_the_next_mirror_is_tried(served, progress):
    _, url = served
    assert located(archive(url + "gone.bin", url + "set.bin"), None, progress).read_bytes() == CONTENT


def test_a_failed_download_says_why_and_the_way_out(served, progress, cache):
    _, url = served
    with pytest.raises(DataError, match=r"Set: downloading set.bin failed .*404.*--data") as caught:
        located(archive(url + "gone.bin"), None, progress)
    assert "\n" not in str(caught.value)
    assert not list(cache.rglob("set.bin"))


def test_no_server_at_all_is_the_same_error(progress):
    with pytest.raises(DataError, match=r"downloading set\.bin failed"):
        located(archive("http://127.0.0.1:9/set.bin"), None, progress)


def test_a_download_of_other_content_is_not_kept(served, progress, cache):
    _, url = served
    with pytest.raises(DataError, match="not the published file of Set"):
        located(archive(url + "set.bin", content=b"other"), None, progress)
    assert not list(cache.rglob("set.bin"))


@pytest.mark.parametrize("place", [".", "raw", "Set", "Set/raw"])
def test_a_file_is_found_where_torchvision_would_have_put_it(tmp_path, progress, place):
    path = tmp_path / "own" / place / "set.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert located(archive(), tmp_path / "own", progress).samefile(path)


def test_a_file_that_is_not_there_is_named_and_not_downloaded(tmp_path, served, progress):
    _, url = served
    with pytest.raises(DataError, match=r"set.bin of Set is not there"):
        located(archive(url + "set.bin"), tmp_path, progress)


def test_a_file_with_another_checksum_is_named(tmp_path, progress):
    (tmp_path / "set.bin").write_bytes(b"other")
    with pytest.raises(DataError, match=r"set\.bin: not the published file of Set \(md5 .*, not .*\)"):
        located(archive(), tmp_path, progress)
