import shutil

import pytest

from kdsearch.data.folders import compare_classes, layout, listing, spelled_as
from kdsearch.data.walk import BESIDE, EMPTY, OTHER, STRAY
from kdsearch.errors import DataError


def files(folder):
    return listing(folder, folder).files


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
    assert layout(root) == (root, root, None, None, [])


@pytest.mark.parametrize(
    "inside",
    [
        [f"train/{index}.png" for index in range(3)],
        [f"train/00{index // 2}_{index}.png" for index in range(4)],
        ["train/steam/a.png", "train/diesel/a.png"],
    ],
)
def test_a_class_named_as_a_split_is_told_from_one(tmp_path, draw_images, inside):
    draw_images(tmp_path, "boat/a.png", "airplane/a.png", *inside)
    with pytest.raises(DataError, match=r"'train' is taken for .* 'airplane' and 'boat' beside it would be"):
        layout(tmp_path)


def test_folders_beside_several_splits_are_passed_over_aloud(tmp_path, draw_images):
    draw_images(tmp_path, "train/cat/a.png", "val/cat/a.png", "extra/cat/a.png")
    (tmp_path / "notes.txt").write_text("notes")
    assert layout(tmp_path).passed == [(tmp_path / "extra", BESIDE)]


def test_a_folder_without_images_beside_a_lone_split_is_no_class(tmp_path, draw_images):
    draw_images(tmp_path, "train/cat/a.png")
    (tmp_path / "logs" / "first").mkdir(parents=True)
    (tmp_path / "logs" / "first" / "log.txt").write_text("log")
    assert layout(tmp_path).training == tmp_path / "train"


@pytest.mark.parametrize("names", [("train", "training"), ("val", "Validation"), ("test", "evaluation")])
def test_two_folders_of_one_split_are_named(tmp_path, draw_images, names):
    draw_images(tmp_path, *(f"{name}/cat/a.png" for name in ("train", *names)))
    first, second = (repr(name) for name in sorted(names))
    with pytest.raises(DataError, match=rf": {first} and {second} are one split; keep one of them$"):
        layout(tmp_path)


def test_a_split_that_is_a_broken_link_is_not_taken_for_none(tmp_path, draw_images):
    draw_images(tmp_path, "train/cat/a.png")
    (tmp_path / "val").symlink_to("gone")
    with pytest.raises(DataError, match=r"val: is a link that leads nowhere; repair or remove it$"):
        layout(tmp_path)


def test_a_folder_with_splits_of_its_own_is_no_class(tmp_path, draw_images):
    draw_images(tmp_path, "pets/train/cat/a.png", "pets/val/cat/a.png", "other/a.png")
    with pytest.raises(DataError, match=r"pets: would be a class, but holds the splits 'train', 'val'; give"):
        layout(tmp_path)


def test_a_test_folder_without_training_is_not_taken_for_a_class(tmp_path, draw_images):
    draw_images(tmp_path, "test/cat/a.png", "other/cat/a.png")
    with pytest.raises(DataError, match=r"has 'test' but no folder named 'train' or 'training'"):
        layout(tmp_path)


def test_numbered_classes_come_in_the_order_of_their_numbers(food, tmp_path, draw_images):
    assert list(files(food / "training")) == [str(number) for number in range(11)]
    draw_images(tmp_path / "numbered", *(f"{number}/a.png" for number in (10, 9, 0)))
    assert list(files(tmp_path / "numbered")) == ["0", "9", "10"]


def test_named_classes_come_in_the_order_of_their_names(tmp_path, draw_images):
    draw_images(tmp_path, "pear/a.png", "fig/deep/er/b.PNG", "fig/a.jpg", "7up/c.webp")
    found = files(tmp_path)
    assert list(found) == ["7up", "fig", "pear"]
    assert [path.name for path in found["fig"]] == ["a.jpg", "b.PNG"]


def test_what_systems_leave_behind_is_no_image_and_no_class(tmp_path, draw_images):
    left = (
        ".git",
        "__MACOSX",
        "@eaDir",
        "#recycle",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
    )
    draw_images(tmp_path, "cat/a.png", "cat/.thumbs/a.png", "dog/a.png")
    for name in left:
        draw_images(tmp_path, f"{name}/cat/a.png", f"cat/{name}/0.jpg/a.png")
    shutil.copy(tmp_path / "cat/a.png", tmp_path / "cat/._a.png")
    (tmp_path / "cat" / "Thumbs.db").write_text("thumbs")
    assert listing(tmp_path, tmp_path).passed == []
    assert files(tmp_path) == {"cat": [tmp_path / "cat/a.png"], "dog": [tmp_path / "dog/a.png"]}


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no images found; expected CLASS/") as caught:
        files(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: ")


def test_all_suffixes_of_the_formats_are_read_in_any_case(tmp_path, draw_images):
    draw_images(tmp_path, "cat/a.jpg", "cat/f.avif")
    for name in ("b.jfif", "c.jpe", "d.JFIF", "e.JPG"):
        shutil.copy(tmp_path / "cat/a.jpg", tmp_path / "cat" / name)
    found = listing(tmp_path, tmp_path)
    assert "".join(path.stem for path in found.files["cat"]) == "abcdef"
    assert found.passed == []


def test_what_a_folder_holds_instead_of_images_is_said(tmp_path, draw_images):
    draw_images(tmp_path, "cat/a.png")
    (tmp_path / "dog").mkdir()
    for name in ("a.heic", "b.heic", "notes"):
        (tmp_path / "dog" / name).write_bytes(b"")
    with pytest.raises(
        DataError,
        match=r"'dog' has no images but 3 files not named like an image \(.heic 2, no suffix 1\); "
        r"kdsearch reads .*\.jfif, .*; add some",
    ):
        listing(tmp_path, tmp_path)


def test_an_empty_folder_beside_numbered_files_is_no_class(tmp_path, draw_images):
    draw_images(tmp_path, "0_1.png", "1_1.png")
    (tmp_path / "New folder").mkdir()
    found = listing(tmp_path, tmp_path)
    assert list(found.files) == ["0", "1"]
    assert found.passed == [(tmp_path / "New folder", EMPTY)]


def test_numbered_files_beside_class_folders_can_be_understood_in_two_ways(tmp_path, draw_images):
    draw_images(tmp_path, "0_1.png", "1_1.png", "cat/a.png")
    with pytest.raises(DataError, match=r"'0_1\.png' have their class in the name, .* such as 'cat'"):
        listing(tmp_path, tmp_path)


def test_other_images_beside_class_folders_are_passed_over_aloud(tmp_path, draw_images):
    draw_images(tmp_path, "overview.png", "cat/a.png", "dog/a.png")
    found = listing(tmp_path, tmp_path)
    assert list(found.files) == ["cat", "dog"]
    assert found.passed == [(tmp_path / "overview.png", STRAY)]


def test_files_that_are_no_images_are_passed_over_aloud(tmp_path, draw_images):
    draw_images(tmp_path, "cat/a.png")
    (tmp_path / "cat" / "notes.txt").write_text("notes")
    assert listing(tmp_path, tmp_path).passed == [(tmp_path / "cat" / "notes.txt", OTHER)]


@pytest.mark.parametrize("target", [".", "..", "../pets"])
def test_a_link_to_the_parent_is_no_class(tmp_path, draw_images, target):
    root = draw_images(tmp_path / "pets", "cat/a.png", "dog/a.png")
    (root / "all").symlink_to(target)
    with pytest.raises(DataError, match=r"all: is a link to a folder above it; remove it$"):
        listing(root, root)


def test_two_classes_that_are_one_folder_are_named(tmp_path, draw_images):
    draw_images(tmp_path, "cat/a.png", "dog/a.png")
    (tmp_path / "hound").symlink_to("dog")
    with pytest.raises(DataError, match=r"classes 'dog' and 'hound' are the same folder; remove one$"):
        listing(tmp_path, tmp_path)


def test_a_class_that_is_a_broken_link_is_not_left_out_in_silence(tmp_path, draw_images):
    draw_images(tmp_path, "cat/a.png", "dog/a.png")
    (tmp_path / "hound").symlink_to("gone")
    with pytest.raises(DataError, match=r"hound: is a link that leads nowhere; repair or remove it$"):
        listing(tmp_path, tmp_path)


def test_two_spellings_of_a_number_in_one_split_are_named(tmp_path, draw_images):
    draw_images(tmp_path, "1/a.png", "01/a.png", "2/a.png")
    with pytest.raises(DataError, match=r"classes '0?1' and '0?1' are one number; rename one$"):
        listing(tmp_path, tmp_path)


def test_two_spellings_of_a_number_in_two_splits_are_one_class():
    training = {"0": [], "01": []}
    assert spelled_as(training, {"00": [1], "1": [2]}) == {"0": [1], "01": [2]}
    assert spelled_as(training, {"1": [1], "cat": [2]}) == {"1": [1], "cat": [2]}


def test_a_folder_of_a_class_that_may_not_be_read_is_named(shared_folder, without_privileges, draw_images):
    draw_images(shared_folder, "cat/a.png", "dog/a.png")
    (shared_folder / "dog").chmod(0)
    with without_privileges(), pytest.raises(DataError, match=r"dog: cannot be read \(Permission denied\)$"):
        listing(shared_folder, shared_folder)


def test_an_empty_class_is_named(tmp_path, draw_images):
    draw_images(tmp_path, "cat/a.png")
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataError, match=r"dog: class 'dog' has no images"):
        files(tmp_path)


def test_a_file_name_without_a_class_is_named(tmp_path, draw_images):
    draw_images(tmp_path, "0_1.png", "0002.png")
    with pytest.raises(DataError, match=r"0002\.png: its name has no class.*expected CLASS_ID"):
        files(tmp_path)


def test_a_class_that_one_split_lacks_is_named(tmp_path):
    two, three = {"a": [], "b": []}, {"a": [], "b": [], "c": []}
    with pytest.raises(
        DataError, match=r"class 'c' is in training but not in val \(3 classes in training, 2 in"
    ):
        compare_classes(three, two, tmp_path / "val")
    with pytest.raises(DataError, match=r"class 'c' is in val but not in training"):
        compare_classes(two, three, tmp_path / "val")


def test_the_first_class_that_one_split_lacks_is_the_first_by_number(tmp_path):
    with pytest.raises(DataError, match="class '9' is in training"):
        compare_classes({"8": [], "9": [], "10": []}, {"8": []}, tmp_path / "val")
