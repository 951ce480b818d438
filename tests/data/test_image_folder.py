import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from kdsearch.data.image_folder import ImageFolder
from kdsearch.data.sources import load_search_sets, load_test_set
from kdsearch.errors import DataError
from kdsearch.tables import DataConfig


def config(root, **changes):
    return DataConfig(name="folder", path=str(root), image_size=16, **changes)


def test_a_food11_folder_gives_its_three_splits(food, progress):
    sets = load_search_sets(config(food), 0, progress)
    assert (sets.train.images.shape, sets.validation.images.shape) == ((33, 3, 16, 16), (22, 3, 16, 16))
    assert sets.train.labels.tolist() == [number for number in range(11) for _ in range(3)]
    assert load_test_set(config(food), 0, progress).labels.tolist() == list(range(11))


def test_a_study_may_keep_the_whole_images(tmp_path, progress):
    """Of every split, at the size of the source too: the left third of each picture is black."""
    pixels = np.zeros((40, 120, 3), np.uint8)
    pixels[:, 40:] = 100
    for split in ("training", "validation", "test"):
        for kind in ("cat", "dog"):
            path = tmp_path / "pets" / split / kind / "0.png"
            path.parent.mkdir(parents=True)
            pixels[:, 40:] += 10  # no two are the same image
            Image.fromarray(pixels).save(path)
    for fit, black in (("crop", False), ("whole", True)):
        asked = config(tmp_path / "pets", fit=fit, source_size=32)
        sets = load_search_sets(asked, 0, progress)
        test = load_test_set(asked, 0, progress)
        for images in (sets.train.images, sets.train.pixels, sets.validation.images, test.images):
            assert bool((images[..., 5:-5, 2] < 10).all()) is black


def test_a_search_opens_no_test_image(food, progress):
    for path in (food / "evaluation").iterdir():
        path.write_bytes(b"garbage")
    assert len(load_search_sets(config(food), 0, progress).train) == 33
    with pytest.raises(DataError, match=r"evaluation.0_0\.png: not a readable image"):
        load_test_set(config(food), 0, progress)


def test_test_files_without_a_class_in_the_name_have_no_labels(food, progress, draw_images):
    draw_images(food, "evaluation/0007.png")
    assert len(load_search_sets(config(food), 0, progress).train) == 33
    with pytest.raises(DataError, match=r"0007\.png: its name has no class, so it has no label"):
        load_test_set(config(food), 0, progress)


def test_no_test_folder_is_an_error_of_the_test_set_only(food, progress):
    shutil.rmtree(food / "evaluation")
    assert len(load_search_sets(config(food), 0, progress).train) == 33
    with pytest.raises(DataError, match="no test images"):
        load_test_set(config(food), 0, progress)


def test_test_images_may_lack_a_class_but_not_have_one_more(food, progress, draw_images):
    (food / "evaluation" / "4_0.png").unlink()
    assert 4 not in load_test_set(config(food), 0, progress).labels.tolist()
    draw_images(food, "evaluation/11_0.png")
    with pytest.raises(DataError, match="class '11' is not in training"):
        load_test_set(config(food), 0, progress)


def test_class_folders_without_a_validation_split_hold_one_out(tmp_path, progress, draw_images):
    root = draw_images(
        tmp_path / "pets", *(f"{kind}/{index}.png" for kind in ("cat", "dog") for index in range(10))
    )
    sets = load_search_sets(config(root), 3, progress)
    assert torch.bincount(sets.train.labels).tolist() == [8, 8]
    assert torch.bincount(sets.validation.labels).tolist() == [2, 2]
    assert sets.train.classes == ("cat", "dog")


def test_a_set_of_several_windows_is_stored_in_random_order(food, progress):
    folder = ImageFolder(food, config(food))

    def pairs(found):
        return sorted(zip(found.images.tolist(), found.labels.tolist(), strict=True))

    plain = folder.search(progress).train
    folder.window = 3
    mixed = folder.search(progress).train
    assert mixed.labels.tolist() != plain.labels.tolist() == sorted(mixed.labels.tolist())
    assert pairs(mixed) == pairs(plain)
    assert torch.equal(folder.search(progress).train.images, mixed.images)


def test_a_folder_without_a_size_is_decoded_at_128(food, progress):
    default = DataConfig(name="folder", path=str(food))
    assert load_search_sets(default, 0, progress).train.images.shape[-2:] == (128, 128)


def test_a_folder_too_many_around_the_data_is_named(tmp_path, draw_images):
    draw_images(
        tmp_path, *(f"food/food/{name}/a.png" for name in ("train/cat", "train/dog", "val/cat", "val/dog"))
    )
    with pytest.raises(DataError, match=r"only one class \('food'\); .*: try --data .*/food/food$"):
        ImageFolder(tmp_path, config(tmp_path))
    with pytest.raises(DataError, match=r"food: would be a class, but holds .* give --data .*/food/food, or"):
        ImageFolder(tmp_path / "food", config(tmp_path / "food"))


def test_a_folder_too_many_inside_a_split_is_named(tmp_path, draw_images):
    draw_images(tmp_path, "train/all/cat/a.png", "train/all/dog/a.png")
    with pytest.raises(
        DataError, match=r"only one class \('all'\); .*train/all holds several .*: move these up$"
    ):
        ImageFolder(tmp_path, config(tmp_path))


def test_one_line_says_what_was_left_out_and_says_it_again(food, progress):
    (food / "training" / "New folder").mkdir()
    for name in ("a.txt", "b.txt", "none"):
        (food / "training" / name).write_bytes(b"")
    (food / "training" / "3_1.png").write_bytes(b"garbage")
    (food / "validation" / "5_0.png").unlink()
    (food / "validation" / "5_0.png").symlink_to("gone")
    for _ in range(2):
        load_search_sets(config(food, skip_corrupt=True), 0, progress)
    line = (
        "left out: training: 3 files not named like an image (.txt 2, no suffix 1), "
        "1 folder without images (training/New folder); 2 damaged images or links to nothing"
    )
    assert progress.said == [line, line]
    (food / "validation" / "later.heic").write_bytes(b"")
    load_search_sets(config(food, skip_corrupt=True), 0, progress)
    assert "validation: 1 file not named like an image (.heic 1)" in progress.said[-1]


def test_a_folder_that_is_all_images_says_nothing(food, progress):
    load_search_sets(config(food), 0, progress)
    load_test_set(config(food), 0, progress)
    assert progress.said == []


def test_what_the_test_folder_holds_besides_images_is_said_when_it_is_read(food, progress):
    (food / "evaluation" / "labels.csv").write_text("labels")
    load_search_sets(config(food), 0, progress)
    assert progress.said == []
    load_test_set(config(food), 0, progress)
    assert progress.said == ["left out: test: 1 file not named like an image (.csv 1)"]


def test_numbers_are_the_same_classes_however_many_zeros_they_have(tmp_path, progress, draw_images):
    draw_images(
        tmp_path / "numbers",
        *(f"train/{name}/{index}.png" for name in ("0", "1") for index in range(3)),
        *(f"{split}/{name}/a.png" for split in ("val", "test") for name in ("00", "01")),
    )
    sets = load_search_sets(config(tmp_path / "numbers"), 0, progress)
    assert sets.validation.labels.tolist() == [0, 1]
    assert sets.train.classes == ("0", "1")
    assert load_test_set(config(tmp_path / "numbers"), 0, progress).labels.tolist() == [0, 1]


def test_a_link_to_nothing_is_an_error_unless_the_study_skips_it(food, progress):
    link = food / "training" / "3_1.png"
    image = link.rename(food / "annexed.png")
    link.symlink_to("gone")
    with pytest.raises(DataError, match=r"3_1\.png: a link that leads nowhere; repair or remove it"):
        load_search_sets(config(food), 0, progress)
    sets = load_search_sets(config(food, skip_corrupt=True), 0, progress)
    assert (len(sets.train), sets.skipped) == (32, 1)
    link.unlink()
    link.symlink_to(image)
    assert len(load_search_sets(config(food, skip_corrupt=True), 0, progress).train) == 33


def test_pictures_in_two_classes_are_counted_and_a_pair_is_named(tmp_path, progress, draw_images):
    draw_images(tmp_path / "pets", *(f"{name}/{index}.png" for name in ("cat", "dog") for index in range(20)))
    for index in range(3):
        shutil.copy(tmp_path / f"pets/cat/{index}.png", tmp_path / f"pets/dog/copy{index}.png")
    sets = load_search_sets(config(tmp_path / "pets"), 0, progress)
    note = "3 pictures lie in two classes, for example cat/0.png and dog/copy0.png"
    assert sets.note is not None
    assert sets.note.startswith(note)
    assert progress.said == [sets.note]


def test_pictures_in_two_classes_are_told_of_given_splits_too(food, progress):
    shutil.copy(food / "training" / "2_1.png", food / "training" / "3_9.png")
    note = "1 picture lies in two classes, for example training/2_1.png and training/3_9.png"
    assert load_search_sets(config(food), 0, progress).note == note


def test_a_class_that_lies_in_another_one_says_so(tmp_path, progress, draw_images):
    draw_images(tmp_path / "pets", *(f"cat/{index}.png" for index in range(40)))
    (tmp_path / "pets" / "few").mkdir()
    for index in range(3):
        shutil.copy(tmp_path / f"pets/cat/{index}.png", tmp_path / f"pets/few/{index}.png")
    with pytest.raises(
        DataError,
        match=r"class 'few': its 3 images are too few .* \(3 pictures lie in two classes, for example",
    ):
        load_search_sets(config(tmp_path / "pets"), 0, progress)


def test_a_single_class_is_an_error(tmp_path, draw_images):
    with pytest.raises(DataError, match=r"only one class \('cat'\)"):
        ImageFolder(draw_images(tmp_path, "cat/a.png"), config(tmp_path))


def test_a_validation_split_without_a_class_is_an_error(food):
    for path in (food / "validation").glob("7_*"):
        path.unlink()
    with pytest.raises(DataError, match=r"class '7' is in training but not in validation \(11 classes"):
        ImageFolder(food, config(food))


def test_corrupt_images_stop_unless_the_study_skips_them(food, progress):
    (food / "training" / "3_1.png").write_bytes(b"garbage")
    (food / "validation" / "5_0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"training.3_1\.png: not a readable image"):
        load_search_sets(config(food), 0, progress)
    sets = load_search_sets(config(food, skip_corrupt=True), 0, progress)
    assert (len(sets.train), len(sets.validation), sets.skipped) == (32, 21, 2)
    assert torch.bincount(sets.train.labels).tolist() == [3, 3, 3, 2, *[3] * 7]


def test_a_class_of_corrupt_images_only_is_an_error_though_they_are_skipped(food, progress):
    for path in (food / "training").glob("3_*"):
        path.write_bytes(b"garbage")
    with pytest.raises(DataError, match="no image of class '3' in training could be read"):
        load_search_sets(config(food, skip_corrupt=True), 0, progress)


def test_images_in_both_splits_are_an_error_unless_the_study_allows_them(food, progress):
    shutil.copy(food / "training" / "2_1.png", food / "validation" / "2_9.png")
    shutil.copy(food / "training" / "4_1.png", food / "validation" / "6_9.png")
    with pytest.raises(
        DataError, match=r"2_1\.png and .*2_9\.png are the same image.* \(and 1 more\); remove"
    ):
        load_search_sets(config(food), 0, progress)
    sets = load_search_sets(config(food, allow_duplicates=True), 0, progress)
    assert sets.note == (
        "2 of 24 validation images are also in training; 1 picture lies in two classes, for example "
        "training/4_1.png and validation/6_9.png"
    )
    assert progress.said == [sets.note]


def test_a_gray_split_beside_a_coloured_one_gets_three_equal_channels(food, progress):
    for path in (food / "validation").iterdir():
        Image.open(path).convert("L").save(path)
    sets = load_search_sets(config(food), 0, progress)
    assert sets.train.images.shape[1:] == sets.validation.images.shape[1:] == (3, 16, 16)
    assert torch.equal(sets.validation.images[:, 0], sets.validation.images[:, 2])


def test_a_changed_added_or_renamed_file_changes_the_identity(food):
    found = [ImageFolder(food, config(food)).identity()]
    shutil.copy(food / "training" / "0_0.png", food / "training" / "0_7.png")
    found.append(ImageFolder(food, config(food)).identity())
    (food / "training" / "0_7.png").rename(food / "training" / "1_7.png")
    found.append(ImageFolder(food, config(food)).identity())
    (food / "training" / "1_7.png").write_bytes((food / "training" / "1_0.png").read_bytes())
    found.append(ImageFolder(food, config(food)).identity())
    assert len(set(found)) == 4


def test_a_changed_test_file_leaves_the_identity_alone(food):
    before = ImageFolder(food, config(food)).identity()
    (food / "evaluation" / "0_0.png").write_bytes(b"")
    assert ImageFolder(food, config(food)).identity() == before
