import shutil

import pytest

from kdsearch.data.folders import class_names, compare_classes, layout, listing
from kdsearch.errors import DataError


def test_splits_are_found_by_their_usual_names(tmp_path, draw_images):
    for names in (
        ("training", "validation", "evaluation"),
        ("Train", "val", "test"),
        ("train", "valid", "testing"),
    ):
        root = tmp_path / names[2]
        draw_images(root, *(f"{name}/cat/a.png" for name in names))
        found = layout(root)
        assert [path.name for path in (found.training, found.validation, found.test)] == list(names)


def test_without_split_folders_all_is_training(tmp_path, draw_images):
    root = draw_images(tmp_path, "cat/a.png", "dog/b.png")
    assert layout(root) == (root, root, None, None)


def test_a_test_folder_without_training_is_not_taken_for_a_class(tmp_path, draw_images):
    draw_images(tmp_path, "test/cat/a.png", "other/cat/a.png")
    with pytest.raises(DataError, match=r"has 'test' but no folder named 'train' or 'training'"):
        layout(tmp_path)


def test_numbered_classes_come_in_the_order_of_their_numbers(food, tmp_path, draw_images):
    assert list(listing(food / "training")) == [str(number) for number in range(11)]
    draw_images(tmp_path / "numbered", *(f"{number}/a.png" for number in (10, 9, 0)))
    assert list(listing(tmp_path / "numbered")) == ["0", "9", "10"]


def test_named_classes_come_in_the_order_of_their_names(tmp_path, draw_images):
    draw_images(tmp_path, "pear/a.png", "fig/deep/er/b.PNG", "fig/a.jpg", "7up/c.webp")
    files = listing(tmp_path)
    assert list(files) == ["7up", "fig", "pear"]
    assert [path.name for path in files["fig"]] == ["a.jpg", "b.PNG"]


def test_what_systems_leave_behind_is_no_image_and_no_class(tmp_path, draw_images):
    draw_images(tmp_path, "cat/a.png", "cat/.thumbs/a.png", "dog/a.png", ".git/a.png", "__MACOSX/cat/a.png")
    shutil.copy(tmp_path / "cat/a.png", tmp_path / "cat/._a.png")
    (tmp_path / "cat" / "notes.txt").write_text("notes")
    assert listing(tmp_path) == {"cat": [tmp_path / "cat/a.png"], "dog": [tmp_path / "dog/a.png"]}


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no images found; expected CLASS/") as caught:
        listing(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: ")


def test_an_empty_class_is_named(tmp_path, draw_images):
    draw_images(tmp_path, "cat/a.png")
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataError, match=r"dog: class 'dog' has no images"):
        listing(tmp_path)


def test_a_file_name_without_a_class_is_named(tmp_path, draw_images):
    draw_images(tmp_path, "0_1.png", "0002.png")
    with pytest.raises(DataError, match=r"0002\.png: its name tells no class.*expected CLASS_ID"):
        listing(tmp_path)


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


def test_a_class_that_one_split_lacks_is_named(tmp_path):
    two, three = {"a": [], "b": []}, {"a": [], "b": [], "c": []}
    with pytest.raises(
        DataError, match=r"class 'c' is in training but not in val \(3 classes in training, 2 in"
    ):
        compare_classes(three, two, tmp_path / "val")
    with pytest.raises(DataError, match=r"class 'c' is in val but not in training"):
        compare_classes(two, three, tmp_path / "val")
