"""The published formats, in small: torchvision's own classes told of files that the tests write."""

import gzip
import hashlib
import pickle
import tarfile
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torchvision.datasets import CIFAR10, MNIST, SVHN

from kdsearch.data.named import CifarSet, Digits, IdxSet, SvhnSet
from kdsearch.errors import DataError

GENERATOR = np.random.default_rng(0)


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def pixels(*shape):
    return GENERATOR.integers(0, 256, shape, np.uint8)


@pytest.fixture
def tiny_mnist(tmp_path):
    """A folder of gzipped IDX files, the dataset class that knows their checksums, and their arrays."""
    arrays = {
        "train-images-idx3-ubyte.gz": pixels(6, 28, 28),
        "train-labels-idx1-ubyte.gz": np.arange(6, dtype=np.uint8),
        "t10k-images-idx3-ubyte.gz": pixels(4, 28, 28),
        "t10k-labels-idx1-ubyte.gz": np.arange(4, dtype=np.uint8),
    }
    for name, array in arrays.items():
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
        (tmp_path / name).write_bytes(gzip.compress(header + array.tobytes()))

    class Tiny(MNIST):
        mirrors = ()
        resources: ClassVar = [(name, md5(tmp_path / name)) for name in arrays]

    return tmp_path, Tiny, list(arrays.values())


def test_idx_files_are_read_where_they_lie(tiny_mnist, progress, cache):
    folder, dataset, (images, labels, test_images, test_labels) = tiny_mnist
    source = IdxSet(dataset, folder)
    train, validation, *_ = source.search(progress)
    assert validation is None
    assert torch.equal(train.images[:, 0], torch.from_numpy(images))
    assert train.labels.tolist() == labels.tolist()
    test = source.test(progress)
    assert torch.equal(test.images[:, 0], torch.from_numpy(test_images))
    assert test.labels.tolist() == test_labels.tolist()
    assert not cache.exists()


def test_a_search_needs_no_test_file_of_mnist(tiny_mnist, progress):
    folder, dataset, _ = tiny_mnist
    for path in folder.glob("t10k*"):
        path.write_bytes(b"garbage")
    source = IdxSet(dataset, folder)
    assert len(source.search(progress).train) == 6
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz: not the published file"):
        source.test(progress)


@pytest.fixture
def tiny_cifar(tmp_path):
    """A packed CIFAR-10 of five batches with one image each and a test batch, and its dataset class."""
    folder = tmp_path / "made" / CIFAR10.base_folder
    folder.mkdir(parents=True)
    batches = {
        name: {"data": pixels(1, 3072), "labels": [number]}
        for number, name in enumerate([*(entry[0] for entry in CIFAR10.train_list), "test_batch"])
    }
    for name, batch in batches.items():
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdef")}))
    (tmp_path / "packed").mkdir()
    with tarfile.open(tmp_path / "packed" / CIFAR10.filename, "w:gz") as tar:
        tar.add(folder, CIFAR10.base_folder)

    class Tiny(CIFAR10):
        tgz_md5 = md5(tmp_path / "packed" / CIFAR10.filename)
        train_list: ClassVar = [[name, md5(folder / name)] for name in batches if name != "test_batch"]
        test_list: ClassVar = [["test_batch", md5(folder / "test_batch")]]
        meta: ClassVar = {**CIFAR10.meta, "md5": md5(folder / "batches.meta")}

    return tmp_path, Tiny, batches


@pytest.mark.parametrize("place", ["packed", "made", f"made/{CIFAR10.base_folder}"])
def test_cifar_is_read_packed_and_unpacked(tiny_cifar, progress, place):
    folder, dataset, batches = tiny_cifar
    source = CifarSet(dataset, folder / place)
    train = source.search(progress).train
    expected = np.concatenate([batch["data"] for batch in batches.values()]).reshape(-1, 3, 32, 32)
    assert torch.equal(train.images, torch.from_numpy(expected[:5]))
    assert (train.labels.tolist(), train.classes) == ([0, 1, 2, 3, 4], tuple("abcdef"))
    assert torch.equal(source.test(progress).images, torch.from_numpy(expected[5:]))


def test_what_is_unpacked_and_damaged_is_unpacked_again(tiny_cifar, damage, heard):
    folder, dataset, _ = tiny_cifar
    source = CifarSet(dataset, folder / "packed")
    train = source.search(heard).train
    damage(source.root(heard) / CIFAR10.base_folder / "data_batch_2")
    again = CifarSet(dataset, folder / "packed").search(heard).train
    assert torch.equal(again.images, train.images)
    (line,) = heard.said
    assert "data_batch_2: damaged (" in line


def test_cifar_is_not_unpickled_with_another_checksum(tiny_cifar, progress):
    folder, dataset, _ = tiny_cifar
    (folder / "made" / CIFAR10.base_folder / "data_batch_1").write_bytes(b"not even a pickle")
    with pytest.raises(DataError, match=r"incomplete, or not the published files of Tiny"):
        CifarSet(dataset, folder / "made").search(progress)


def test_svhn_is_read(tmp_path, progress):
    arrays = {"train": pixels(32, 32, 3, 4), "test": pixels(32, 32, 3, 2)}
    for split, array in arrays.items():
        labels = np.array([[10], [1], [2], [9]])[: array.shape[-1]]
        savemat(tmp_path / f"{split}_32x32.mat", {"X": array, "y": labels})

    class Tiny(SVHN):
        split_list: ClassVar = {
            split: ["", f"{split}_32x32.mat", md5(tmp_path / f"{split}_32x32.mat")] for split in arrays
        }

    source = SvhnSet(Tiny, tmp_path)
    train = source.search(progress).train
    assert torch.equal(train.images, torch.from_numpy(arrays["train"].transpose(3, 2, 0, 1).copy()))
    assert train.labels.tolist() == [0, 1, 2, 9]
    assert len(source.test(progress)) == 2


def test_digits_take_no_folder(tmp_path):
    with pytest.raises(DataError, match="digits come with scikit-learn"):
        Digits(tmp_path, 0)
