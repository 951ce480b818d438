import os

import pytest

from kdsearch.data.image_folder import class_names, unused_names
from kdsearch.errors import DataError


def test_class_names_come_from_classes_txt(tmp_path):
    assert class_names(tmp_path, ["0", "1"]) == ("0", "1")
    (tmp_path / "classes.txt").write_text("0\tapple_pie\n\n1\tbaby back ribs\n")
    assert class_names(tmp_path, ["0", "1"]) == ("apple_pie", "baby back ribs")
    assert class_names(tmp_path, ["cat", "dog"]) == ("cat", "dog")
    with pytest.raises(DataError, match=r"classes\.txt: class 1 \(baby back ribs\) has no images"):
        class_names(tmp_path, ["0"])


def test_a_line_of_classes_txt_of_another_form_is_named(tmp_path):
    (tmp_path / "classes.txt").write_text("0\tapple_pie\nbaklava\n")
    with pytest.raises(
        DataError, match=r"classes\.txt, line 2: expected NUMBER, a tab, NAME; found 'baklava'"
    ):
        class_names(tmp_path, ["0", "1"])


@pytest.mark.parametrize("content", [b"0\tcr\xc3\xa8me\n", b"\xef\xbb\xbf0\tcr\xc3\xa8me\r\n"])
def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path, content):
    (tmp_path / "classes.txt").write_bytes(content)
    assert class_names(tmp_path, ["0", "1"]) == ("crème", "1")


def test_a_file_in_another_encoding_is_named(tmp_path):
    (tmp_path / "classes.txt").write_bytes("0\tcrème\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"classes\.txt: not a text file in UTF-8"):
        class_names(tmp_path, ["0"])


@pytest.mark.timeout(30)  # whoever opens a pipe waits for a writer
def test_what_stands_in_its_place_is_not_passed_over_in_silence(tmp_path):
    path = tmp_path / "classes.txt"
    os.mkfifo(path)
    with pytest.raises(DataError, match=r"classes\.txt: cannot be read: Is a named pipe"):
        class_names(tmp_path, ["0"])
    path.unlink()
    path.symlink_to("gone")
    with pytest.raises(DataError, match=r"classes\.txt: cannot be read: No such file"):
        class_names(tmp_path, ["0"])


@pytest.mark.parametrize("content", ["0\tbread\n1\tbread\n", "0\t1\n"])
def test_two_classes_of_one_name_are_named(tmp_path, content):
    (tmp_path / "classes.txt").write_text(content)
    with pytest.raises(DataError, match=r"classes\.txt: classes 0 and 1 are both named '(bread|1)'; rename"):
        class_names(tmp_path, ["0", "1"])


def test_a_class_that_is_named_twice_is_named(tmp_path):
    (tmp_path / "classes.txt").write_text("0\tbread\n00\tcake\n")
    with pytest.raises(DataError, match=r"classes\.txt, line 2: class 0 is 'bread' already"):
        class_names(tmp_path, ["0", "1"])


def test_a_number_may_have_more_zeros_in_the_folders(tmp_path):
    (tmp_path / "classes.txt").write_text("0\tbread\n01\tcake\n")
    assert class_names(tmp_path, ["00", "1"]) == ("bread", "cake")


def test_a_number_of_thousands_of_digits_is_none(tmp_path):
    (tmp_path / "classes.txt").write_text(f"{'9' * 5000}\tbread\n")
    with pytest.raises(DataError, match=r"classes\.txt, line 1: expected NUMBER"):
        class_names(tmp_path, ["0"])


def test_names_for_classes_that_have_some_are_passed_over_aloud(tmp_path):
    assert unused_names(tmp_path, ["cat"]) == []
    (tmp_path / "classes.txt").write_text("0\tbread\n")
    assert unused_names(tmp_path, ["0"]) == []
    assert [passed.path for passed in unused_names(tmp_path, ["cat"])] == [tmp_path / "classes.txt"]
