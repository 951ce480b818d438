"""What studies, teachers and classes may be called."""

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kdsearch.data.image_folder import ImageFolder
from kdsearch.errors import DataError, StudyFileError
from kdsearch.names import (
    STUDY_BYTES,
    is_hidden,
    nearest_first,
    study_name_fault,
    teacher_name_fault,
    visible,
)
from kdsearch.study.file import load_study
from kdsearch.tables import DataConfig

REFUSED = {
    "": "must not be empty",
    " ": "must not be empty",
    ".": "must not be empty, '.' or '..'",
    "..": "must not be empty, '.' or '..'",
    "a/b": "must not hold /",
    "a\\b": r"must not hold \\",
    "a\nb": r"must not hold the character \\n",
    "a\x1b[31mb": r"must not hold the character \\x1b",
    "a\u202eb": r"must not hold the character \\u202e",
    "caf\udce9": r"must not hold the character \\udce9",
    "x" * 300: "must have at most 240 bytes in UTF-8, and has 300",
    "\N{BREAD}" * 61: "must have at most 240 bytes in UTF-8, and has 244",
}


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_a_study_name_that_some_writer_could_not_take_is_refused_with_the_cure(name):
    with pytest.raises(StudyFileError, match=REFUSED[name]) as error:
        load_study("digits", {"name": name})
    assert "name = " in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["digits", "my study", "[red]odd", "-x", ".x", "a..b", "\N{BREAD}", "x" * 240]
)
def test_odd_but_harmless_study_names_are_names(name):
    assert load_study("digits", {"name": name}).name == name


@given(st.text())
@example("." * STUDY_BYTES)
def test_what_is_a_study_name_names_a_folder_of_its_own(tmp_path_factory, name):
    if study_name_fault(name) is not None:
        return
    root = tmp_path_factory.getbasetemp() / "best"
    folder = root / name
    assert folder.parent == root
    folder.mkdir(parents=True, exist_ok=True)
    assert folder.resolve().parent.samefile(root)
    name.encode()


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a.b", "\N{BREAD}", "..", "x" * 101])
def test_a_teacher_s_name_is_part_of_other_names(name):
    assert teacher_name_fault(name) is not None
    with pytest.raises(StudyFileError, match=r"teachers\."):
        load_study("digits", {"teachers": {name: {"model": "resnet18"}}})


def test_a_class_whose_name_is_not_utf_8_is_said_before_an_image_is_read(tmp_path, draw_images):
    draw_images(tmp_path / "images", "apple/1.png", "other/1.png")
    (tmp_path / "images" / "other").rename(tmp_path / "images" / os.fsdecode(b"caf\xe9"))
    with pytest.raises(DataError, match=r"class 'caf\\udce9' is not UTF-8.*rename it") as error:
        ImageFolder(tmp_path / "images", DataConfig(name="folder"))
    assert str(error.value).isprintable()


def test_a_class_with_a_line_break_is_a_class(tmp_path, draw_images):
    draw_images(tmp_path / "images", "apple/1.png", "two\nlines/1.png")
    assert ImageFolder(tmp_path / "images", DataConfig(name="folder")).classes == ("apple", "two\nlines")


@given(st.text())
def test_a_visible_text_has_no_character_that_is_not_seen_and_loses_none_that_is(text):
    shown = visible(text)
    assert not any(map(is_hidden, shown))
    assert [each for each in text if not is_hidden(each)] == [
        each for each in text if each in shown and not is_hidden(each)
    ]
    shown.encode()


def test_known_names_come_nearest_first_and_equals_in_their_order():
    known = ["plain", "fire", "ghost"]
    assert nearest_first("gost", known) == "ghost, plain, fire"
    assert nearest_first("gost", known, 2) == "ghost, plain"
    assert nearest_first("gost", []) == ""
