"""Torchvision's own weights, from its download server or from torch's download folder."""

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
from kdsearch.models.weights import read_weights

FORCED = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


class Pretrained(NamedTuple):
    """A network with published weights, and the normalisation that these expect."""

    net: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]


def pretrained(name: str) -> Pretrained:
    """The torchvision classifier `name` with its default weights, 1,000 classes of ImageNet.

    Downloads them if the machine does not have them. Raises TeacherError with the ways out if the download
    fails, or if the file is not the published one.
    """
    weights = models.get_model_weights(name).DEFAULT
    path = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(weights.url).path).name)
    if not path.exists():
        _download(name, weights, path)
    read_weights(path)  # torchvision would run code in the file: this refuses one that has any
    try:
        with tensors_only(), warnings.catch_warnings(action="ignore"):
            net = models.get_model(name, weights=weights, progress=False)
    except (RuntimeError, UnpicklingError):
        raise TeacherError(
            f"{path}: not torchvision's weights of {name}; remove it, or put {weights.url} there"
        ) from None
    preset = weights.transforms()
    return Pretrained(net, tuple(preset.mean), tuple(preset.std))


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
            f"fetch {weights.url} and put it at {path}, or name a file of your own with checkpoint, "
            "or leave pretrained out"
        ) from None
