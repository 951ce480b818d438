"""Torchvision's classifiers, with random weights, the published ones, or those of a file."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from http.client import HTTPException
from io import StringIO
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple
from urllib.parse import urlsplit

import torch
from torch import nn
from torchvision import models

from kdsearch.errors import TeacherError
from kdsearch.files import expanded
from kdsearch.models.weights import load_weights, read_weights
from kdsearch.names import nearest_first
from kdsearch.tables import IMAGENET

FORCED = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
# Auxiliary heads that answer in training only, or no linear layer at the end.
UNFIT = {"googlenet", "inception_v3", "squeezenet1_0", "squeezenet1_1"}


class Pretrained(NamedTuple):
    """A network with published weights, and the normalisation that these expect."""

    net: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]


def teacher_names() -> list[str]:
    """The names of torchvision's classifiers that can be teachers."""
    return sorted(set(models.list_models(module=models)) - UNFIT)


def offered() -> dict[str, int]:
    """These names with torchvision's count of their parameters, for 1,000 classes; builds no network."""
    return {name: models.get_model_weights(name).DEFAULT.meta["num_params"] for name in teacher_names()}


def check_name(name: str) -> None:
    """Raises TeacherError with the nearest names if torchvision has no such classifier."""
    if name not in teacher_names():
        near = nearest_first(name, teacher_names(), 3)
        raise TeacherError(
            f"[teacher] model: unknown {name!r}; known, nearest first: {near}, ... (timm's are timm:NAME)"
        )


def random_net(name: str) -> nn.Module:
    """The classifier `name` with weights from torch's global generator, for 1,000 classes."""
    net: nn.Module = models.get_model(name, weights=None)
    return net


def pretrained(name: str, origin: str) -> Pretrained:
    """The classifier `name` with weights from `origin`: the published ones, or a file's.

    Of a file it takes all weights but those of the last layer, which may have any number of classes. Raises
    TeacherError if the weights cannot be had, or are another network's.
    """
    published_weights = models.get_model_weights(name).DEFAULT
    preset = published_weights.transforms()
    net = published(name, published_weights) if origin == IMAGENET else from_file(name, expanded(origin))
    return Pretrained(net, tuple(preset.mean), tuple(preset.std))


def from_file(name: str, path: Path) -> nn.Module:
    """The classifier `name` with the weights of a file, but for its last layer. Raises TeacherError."""
    net, weights = random_net(name), read_weights(path)
    last = [place for place, layer in net.named_modules() if isinstance(layer, nn.Linear)][-1]
    own = {key: tensor for key, tensor in net.state_dict().items() if key.rpartition(".")[0] == last}
    load_weights(net, weights | own, str(path))
    return net


def published(name: str, weights: models.WeightsEnum) -> nn.Module:
    """The classifier `name` with torchvision's `weights`, 1,000 classes of ImageNet.

    Downloads them if the machine does not have them. Raises TeacherError with the ways out if the download
    fails, or if the file is not the published one.
    """
    path = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(weights.url).path).name)
    if not path.exists():
        _download(name, weights, path)
    read_weights(path)  # torchvision would run code in the file: this refuses one that has any
    try:
        with tensors_only(), warnings.catch_warnings(action="ignore"):
            net: nn.Module = models.get_model(name, weights=weights, progress=False)
    except (RuntimeError, UnpicklingError):
        raise TeacherError(
            f"{path}: not torchvision's weights of {name}; remove it, or put {weights.url} there"
        ) from None
    return net


@contextmanager
def tensors_only() -> Iterator[None]:
    """Makes every torch.load in this process refuse code, whatever its arguments: a file can look harmless to
    one reader and not to another.
    """
    before = os.environ.get(FORCED)
    os.environ[FORCED] = "1"
    try:
        yield
    finally:
        os.environ.pop(FORCED) if before is None else os.environ.update({FORCED: before})


def _download(name: str, weights: models.WeightsEnum, path: Path) -> None:
    try:
        with redirect_stdout(StringIO()):
            weights.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except (OSError, HTTPException, RuntimeError) as error:
        reason = getattr(error, "reason", error)
        raise TeacherError(
            f"[teacher] pretrained: cannot download torchvision's weights of {name} ({reason}); "
            f"fetch {weights.url} and put it at {path}, or let pretrained name a file with them, "
            "or leave pretrained out"
        ) from None
