import os
import socket

import pytest

from kdsearch.errors import StudyFileError
from kdsearch.files import expanded, open_regular, printable, read_text

MARK = b"\xef\xbb\xbf"


@pytest.mark.timeout(30)  # whoever opens a pipe waits for a writer
def test_what_is_no_regular_file_is_named_and_not_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path has room for 108 bytes
    os.mkfifo("pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        (tmp_path / "device").symlink_to("/dev/zero")
        (tmp_path / "linked").symlink_to("pipe")
        kinds = {"pipe": "named pipe", "linked": "named pipe", "device": "device", "socket": "socket"}
        for name, kind in {**kinds, "folder": "directory"}.items():
            with pytest.raises(OSError, match=f"Is a {kind}: .*{name}"):
                open_regular(tmp_path / name)


def test_a_link_to_a_file_is_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"content"


@pytest.mark.parametrize("content", [b"a\nb\xc3\xa8\n", MARK + b"a\nb\xc3\xa8\n", b"a\r\nb\xc3\xa8\r\n"])
def test_text_comes_without_byte_order_mark_and_with_plain_line_ends(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert read_text(tmp_path / "file", StudyFileError) == "a\nbè\n"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_text_in_another_encoding_is_one_line_that_names_the_file(tmp_path, encoding):
    (tmp_path / "file").write_text("crème", encoding=encoding)
    with pytest.raises(StudyFileError, match=r"file: not a text file in UTF-8; save it in that encoding$"):
        read_text(tmp_path / "file", StudyFileError)


@pytest.mark.parametrize(
    ("target", "reason"), [("nowhere", "No such file"), ("link", "Too many levels of symbolic links")]
)
def test_a_link_that_leads_nowhere_is_one_line_that_names_it(tmp_path, target, reason):
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(StudyFileError, match=f"link: cannot be read: {reason}"):
        read_text(tmp_path / "link", StudyFileError)


def test_a_home_that_is_not_there_stays_as_it_is_written(monkeypatch):
    monkeypatch.setenv("HOME", "/here")
    assert str(expanded("~/images")) == "/here/images"
    assert str(expanded("~nobody-of-this-name/images")) == "~nobody-of-this-name/images"


def test_a_name_that_no_terminal_can_show_is_escaped():
    assert printable("crème brûlée 3.jpg") == "crème brûlée 3.jpg"
    assert printable("caf\udce9\x1b[31m\n") == r"caf\udce9\x1b[31m\n"
