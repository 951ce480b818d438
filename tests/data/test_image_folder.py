import shutil

import pytest
import torch
from PIL import Image

from kdsearch.data.image_folder import ImageFolder
from kdsearch.data.request import DataConfig
from kdsearch.data.sources import load_search_sets, load_test_set
from kdsearch.errors import DataError


def config(root, **changes):
    return DataConfig(name="folder", path=str(root), image_size=16, **changes)


def test_a_food11_folder_gives_its_three_splits(food, progress):
    sets = load_search_sets(config(food), 0, progress)
    assert (sets.train.images.shape, sets.validation.images.shape) == ((33, 3, 16, 16), (22, 3, 16, 16))
    assert sets.train.labels.tolist() == [number for number in range(11) for _ in range(3)]
    assert load_test_set(config(food), 0, progress).labels.tolist() == list(range(11))


def test_a_search_opens_no_test_image(food, progress):
    for path in (food / "evaluation").iterdir():
        path.write_bytes(b"garbage")
    assert len(load_search_sets(config(food), 0, progress).train) == 33
    with pytest.raises(DataError, match=r"evaluation.0_0\.png: not a readable image"):
        load_test_set(config(food), 0, progress)


def test_test_files_without_a_class_in_the_name_have_no_labels(food, progress, draw_images):
    draw_images(food, "evaluation/0007.png")
    assert len(load_search_sets(config(food), 0, progress).train) == 33
    with pytest.raises(DataError, match=r"0007\.png: its name tells no class, so it has no label"):
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


def test_a_set_of_several_windows_is_stored_in_random_order(food, progress, monkeypatch):
    def read():
        return ImageFolder(food, config(food)).search(progress).train

    def pairs(found):
        return sorted(zip(found.images.tolist(), found.labels.tolist(), strict=True))

    plain = read()
    monkeypatch.setattr("kdsearch.data.image_folder.WINDOW", 3)
    mixed = read()
    assert mixed.labels.tolist() != plain.labels.tolist() == sorted(mixed.labels.tolist())
    assert pairs(mixed) == pairs(plain)
    assert torch.equal(read().images, mixed.images)


def test_a_folder_without_a_size_is_decoded_at_128(food, progress):
    default = DataConfig(name="folder", path=str(food))
    assert load_search_sets(default, 0, progress).train.images.shape[-2:] == (128, 128)


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
    assert sets.note == "2 of 24 validation images are also in training"


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
