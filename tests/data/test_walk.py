import os
import socket
from pathlib import Path

import pytest

from kdsearch.data.walk import (
    BACK,
    BROKEN,
    DEVICE,
    OTHER,
    PIPE,
    SOCKET,
    PassedOver,
    ancestors,
    content,
    images_below,
)
from kdsearch.errors import DataError


def below(folder):
    """The images below a class folder that lies in the data set's."""
    return images_below(folder, ancestors(folder.parent))


def names(paths, root):
    return [path.relative_to(root).as_posix() for path in paths]


@pytest.mark.timeout(30)  # whoever opens a pipe waits for a writer
def test_only_regular_files_are_images(tmp_path, monkeypatch, draw_images):
    monkeypatch.chdir(tmp_path)  # a socket's path has room for 108 bytes
    draw_images(tmp_path, "a.png")
    os.mkfifo("pipe.png")
    Path("to pipe.png").symlink_to("pipe.png")
    Path("zero.png").symlink_to("/dev/zero")
    Path("folder.png").mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.png")
        found = content(tmp_path)
    assert names(found.images, tmp_path) == ["a.png"]
    assert names(found.folders, tmp_path) == ["folder.png"]
    passed = {"pipe.png": PIPE, "to pipe.png": PIPE, "zero.png": DEVICE, "socket.png": SOCKET}
    assert {each.path.name: each.reason for each in found.passed} == passed


def test_what_is_not_named_like_an_image_is_passed_over(tmp_path, draw_images):
    draw_images(tmp_path, "a.png")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "README").symlink_to("gone")
    (tmp_path / "gone.jpg").symlink_to("gone")
    found = content(tmp_path)
    assert names(found.images, tmp_path) == ["a.png", "gone.jpg"]
    assert found.passed == [
        PassedOver(tmp_path / "README", BROKEN),
        PassedOver(tmp_path / "notes.txt", OTHER),
    ]


def test_a_linked_folder_of_images_is_followed(tmp_path, draw_images):
    draw_images(tmp_path, "more/b.png", "data/cat/a.png")
    (tmp_path / "data/cat/linked").symlink_to("../../more")
    found = below(tmp_path / "data/cat")
    assert names(found.images, tmp_path / "data/cat") == ["a.png", "linked/b.png"]
    assert found.passed == []


@pytest.mark.parametrize("target", [".", "..", "../..", "/", "../dog/back"])
def test_a_link_that_circles_is_passed_over(tmp_path, draw_images, target):
    draw_images(tmp_path, "data/cat/a.png", "data/dog/a.png")
    (tmp_path / "data/dog/back").symlink_to("../cat")
    (tmp_path / "data/cat/link").symlink_to(target)
    found = below(tmp_path / "data/cat")
    assert names(found.images, tmp_path / "data/cat") == ["a.png"]
    assert found.passed == [PassedOver(tmp_path / "data/cat/link", BACK)]


def test_a_folder_is_read_once_and_at_its_own_place(tmp_path, draw_images):
    draw_images(tmp_path, "cat/own/a.png")
    for link in ("first", "later"):
        (tmp_path / "cat" / link).symlink_to("own")
    found = below(tmp_path / "cat")
    assert names(found.images, tmp_path / "cat") == ["own/a.png"]
    assert [each.path.name for each in found.passed] == ["first", "later"]


def test_a_folder_that_may_not_be_read_is_named(shared_folder, without_privileges, draw_images):
    folder = draw_images(shared_folder, "cat/a.png") / "cat"
    folder.chmod(0)
    with without_privileges(), pytest.raises(DataError, match=r"cat: cannot be read \(Permission denied\)$"):
        content(folder)
