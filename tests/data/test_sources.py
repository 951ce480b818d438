import os
import subprocess
import sys
import tarfile

import pytest
import torch

from kdsearch.cache import SUMS
from kdsearch.data.image_set import SearchSets
from kdsearch.data.sources import find_source, load_search_sets, load_test_set
from kdsearch.data.split import count_copies, pixel_hash
from kdsearch.errors import CacheDamagedError, DataError
from kdsearch.progress import Silence
from kdsearch.tables import DataConfig

SILENCE = Silence()


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_digits_are_split_1149_288_360_stratified_and_disjoint(seed):
    sets = load_search_sets(DataConfig(), seed, SILENCE)
    parts = [sets.train, sets.validation, load_test_set(DataConfig(), seed, SILENCE)]
    assert [len(part) for part in parts] == [1149, 288, 360]
    assert sets.note is None
    hashes = {pixel_hash(image) for part in parts for image in part.images}
    assert len(hashes) == 1797
    everything = sum(torch.bincount(part.labels) for part in parts)
    for part in parts:
        assert (torch.bincount(part.labels) - everything * len(part) / 1797).abs().max() < 2
        assert part.images.shape[1:] == (1, 8, 8)
        assert (int(part.images.min()), int(part.images.max())) == (0, 255)


def test_the_seed_decides_the_split_and_nothing_else_does(cache, monkeypatch):
    first = load_search_sets(DataConfig(), 5, SILENCE)
    other = load_search_sets(DataConfig(), 6, SILENCE)
    monkeypatch.setenv("KDSEARCH_CACHE", str(cache / "second"))
    again = load_search_sets(DataConfig(), 5, SILENCE)
    assert again.folder != first.folder
    assert again.fingerprint == first.fingerprint != other.fingerprint


def test_a_second_search_reads_the_cache(food, progress):
    config = DataConfig(name="folder", path=str(food), image_size=16)
    first = load_search_sets(config, 0, progress)
    assert {task for task, _, _ in progress.steps} == {"decode training", "decode validation"}
    progress.steps.clear()
    assert load_search_sets(config, 0, progress).folder == first.folder
    assert progress.steps == []


@pytest.mark.parametrize(
    "name",
    [
        "train/images.npy",
        "train/labels.npy",
        "validation/images.npy",
        "validation/meta.json",
        "meta.json",
        SUMS,
    ],
)
def test_damaged_images_are_said_in_a_line_and_made_again(damage, name, heard):
    first = load_search_sets(DataConfig(), 0, SILENCE)
    fingerprint, mean_std = first.fingerprint, first.train.mean_std()
    pixels, labels = first.train.images.clone(), first.train.labels.clone()
    damage(first.folder / name)
    again = load_search_sets(DataConfig(), 0, heard)
    (line,) = heard.said
    assert line.startswith(f"{first.folder}/")  # damaged sums accuse another file
    assert name == SUMS or line.startswith(f"{first.folder / name}: damaged (")
    assert "\n" not in line
    assert again.folder == first.folder
    assert torch.equal(again.train.images, pixels)
    assert torch.equal(again.train.labels, labels)
    assert (again.fingerprint, again.train.mean_std()) == (fingerprint, mean_std)
    load_search_sets(DataConfig(), 0, heard)
    assert len(heard.said) == 1


@pytest.mark.parametrize("name", ["train/labels.npy", "train/meta.json", "meta.json"])
def test_a_worker_opens_no_damaged_labels_or_facts(damage, name):
    folder = load_search_sets(DataConfig(), 0, SILENCE).folder
    damage(folder / name)
    with pytest.raises(CacheDamagedError, match="damaged"):
        SearchSets.open(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody who may not write")
@pytest.mark.parametrize("below", ["", "kdsearch/new"])
def test_a_cache_that_may_not_be_written_is_one_line_that_names_folder_and_variable(tmp_path, below):
    (tmp_path / "cache").mkdir(mode=0o555)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    code = (
        "from kdsearch.tables import DataConfig; from kdsearch.data.sources import load_search_sets\n"
        "from kdsearch.errors import UsageError; from kdsearch.progress import Silence; import os\n"
        "os.setuid(54321)\n"
        "try: load_search_sets(DataConfig(), 0, Silence())\n"
        "except UsageError as error: print(error)"
    )
    where = tmp_path / "cache" / below
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KDSEARCH_CACHE": str(where)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.startswith(f"{where}: cannot be written to (Permission denied); ")
    assert "KDSEARCH_CACHE" in answer.stdout
    assert answer.stdout.count("\n") == 1


def test_the_same_files_elsewhere_are_the_same_data(food, tmp_path, progress):
    config = DataConfig(name="folder", path=str(food), image_size=16)
    first = load_search_sets(config, 0, progress)
    food.rename(tmp_path / "moved")
    moved = config.model_copy(update={"path": str(tmp_path / "moved")})
    assert load_search_sets(moved, 0, progress).folder == first.folder


@pytest.mark.parametrize("change", [{"image_size": 24}, {"validation": 0.3}, {"train_images": 200}])
def test_another_setting_is_another_entry(change):
    assert (
        load_search_sets(DataConfig(**change), 0, SILENCE).folder
        != load_search_sets(DataConfig(), 0, SILENCE).folder
    )


def test_a_study_may_train_on_fewer_images_with_the_same_validation():
    all_of_them, fewer = (load_search_sets(DataConfig(train_images=n), 0, SILENCE) for n in (None, 200))
    assert len(fewer.train) == 200
    assert count_copies(fewer.train, all_of_them.train) == 200
    assert fewer.validation.fingerprint == all_of_them.validation.fingerprint


def test_a_study_may_have_another_size_than_the_data():
    config = DataConfig(image_size=16)
    assert load_search_sets(config, 0, SILENCE).validation.images.shape == (288, 1, 16, 16)
    assert load_test_set(config, 0, SILENCE).images.shape == (360, 1, 16, 16)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DataConfig(name="Cifar10"), r"^data.name = 'Cifar10': unknown; known, nearest first: CIFAR10, "),
        (DataConfig(name="folder"), r"name it with --data FOLDER"),
        (DataConfig(name="folder", path="/no/such"), r"^--data .*such: no such folder"),
        (DataConfig(name="MNIST", path="/no/such"), r"^--data .*such: no such folder"),
    ],
)
def test_a_source_that_is_not_there_is_one_line(config, message):
    for load in (load_search_sets, load_test_set):
        with pytest.raises(DataError, match=message) as caught:
            load(config, 0, SILENCE)
        assert "\n" not in str(caught.value)


def test_a_folder_that_may_not_be_looked_at_is_one_line(shared_folder, without_privileges):
    (shared_folder / "closed").mkdir(mode=0)
    for name, place in (("folder", "closed/data"), ("CIFAR10", "closed")):
        config = DataConfig(name=name, path=str(shared_folder / place))
        with without_privileges(), pytest.raises(DataError, match=r"^--data .* read \(Permission denied\)$"):
            find_source(config, 0)


def test_a_file_is_no_folder_of_images(tmp_path):
    (tmp_path / "images.tar").write_bytes(b"")
    with pytest.raises(DataError, match=r"^--data .*images.tar: is not a folder$"):
        find_source(DataConfig(name="folder", path=str(tmp_path / "images.tar")), 0)


def test_a_home_that_is_not_there_is_no_such_folder():
    with pytest.raises(DataError, match=r"^--data ~nobody-of-this-name/x: no such folder$"):
        find_source(DataConfig(name="folder", path="~nobody-of-this-name/x"), 0)


def test_fashion_mnist_as_published(real_data):
    config = DataConfig(name="FashionMNIST", path=str(real_data / "fashion-mnist"))
    sets = load_search_sets(config, 0, SILENCE)
    assert (len(sets.train), len(sets.validation)) == (48000, 12000)
    assert torch.bincount(sets.validation.labels).tolist() == [1200] * 10
    assert sets.train.mean_std()[0] == pytest.approx([0.2860] * 3, abs=1e-3)
    test = load_test_set(config, 0, SILENCE)
    assert torch.bincount(test.labels).tolist() == [1000] * 10
    assert count_copies(test, sets.train) == 0


@pytest.fixture(scope="session")
def food101(real_data, tmp_path_factory):
    """Both sizes of food101-10, unpacked."""
    folder = tmp_path_factory.mktemp("food101")
    for size in (64, 128):
        with tarfile.open(real_data / f"food101-10_{size}.tar") as tar:
            tar.extractall(folder / str(size), filter="data")
    return folder


@pytest.mark.parametrize("size", [64, 128])
def test_food101_in_the_layout_of_food11(food101, size):
    config = DataConfig(name="folder", path=str(food101 / str(size)), image_size=size)
    sets = load_search_sets(config, 0, SILENCE)
    test = load_test_set(config, 0, SILENCE)
    assert torch.bincount(sets.train.labels).tolist() == [300, 300, 300, 299, 300, 299, *[300] * 4]
    assert torch.bincount(sets.validation.labels).tolist() == [75] * 10
    assert torch.bincount(test.labels).tolist() == [125] * 10
    assert sets.train.classes[::9] == ("apple_pie", "breakfast_burrito")
    assert sets.train.images.shape[1:] == (3, size, size)
    assert (count_copies(test, sets.train), count_copies(test, sets.validation)) == (0, 0)
