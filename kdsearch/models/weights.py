"""Weights from files and bytes: runs no code in a file, and says which weights do not fit."""

import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import BinaryIO
from zipfile import BadZipFile

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from kdsearch.errors import TeacherError
from kdsearch.files import open_regular

MALFORMED = (
    RuntimeError,
    EOFError,
    BadZipFile,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    OSError,
    MemoryError,
    ArithmeticError,
    struct.error,
)  # what torch's readers raise on files that are cut or something else
NESTS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "teacher",
    "weights",
    "params",
)
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")  # of wrappers: data parallel, compiled, Lightning


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict of a `.safetensors` or PyTorch file, on the CPU, its floats in float32.

    It may be under a usual key of a checkpoint, and its keys may have a wrapper's prefix. Runs no code in the
    file: refuses anything but tensors and plain containers. Raises TeacherError.
    """
    with open_weights(path) as file:
        if path.suffix == ".safetensors":
            content: object = from_bytes(file.read(), str(path))
        else:
            content = unpickle(file, path)
    weights = without_prefix(find_state_dict(content, path))
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in weights.items()}


def open_weights(path: Path) -> BinaryIO:
    """Opens the file. Raises TeacherError if that fails, and if it is not a regular file."""
    try:
        return open_regular(path)
    except OSError as error:
        reason = (
            "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        )
        raise TeacherError(f"{path}: {reason}; name a .safetensors or PyTorch file") from None


def unpickle(file: BinaryIO, path: Path) -> object:
    """Reads what PyTorch saved: tensors and plain containers. Raises TeacherError, which names `path`."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of unusual pickles, which it then reads or refuses
            content: object = torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise TeacherError(
            f"{path}: holds more than tensors, or is not a PyTorch file, so loading it could run code; "
            "save net.state_dict() alone"
        ) from None
    except MALFORMED as error:
        raise TeacherError(
            f"{path}: not a whole PyTorch file ({type(error).__name__}); save it again"
        ) from None
    return content


def find_state_dict(content: object, path: Path) -> dict[str, Tensor]:
    """The mapping from names to tensors, itself or up to two usual keys deep. Raises TeacherError."""
    for _ in range(3):
        if not isinstance(content, Mapping):
            break
        if content and all(isinstance(tensor, Tensor) for tensor in content.values()):
            return {str(key): tensor for key, tensor in content.items()}
        content = next((content[key] for key in NESTS if key in content), None)
    raise TeacherError(f"{path}: no state dict in it; looked at the top and under {', '.join(NESTS)}")


def without_prefix(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights without the prefixes that wrappers put before every key."""
    for prefix in PREFIXES * 2:
        if all(key.startswith(prefix) for key in weights):
            weights = {key.removeprefix(prefix): tensor for key, tensor in weights.items()}
    return weights


def load_weights(net: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Copies `weights` into `net`, all of them. Raises TeacherError, naming `source` and what differs."""
    wanted = net.state_dict()
    missing, unexpected = sorted(wanted.keys() - weights.keys()), sorted(weights.keys() - wanted.keys())
    if missing or unexpected:
        differences = [
            f"{word} {listed(keys)}"
            for word, keys in (("lacks", missing), ("has unknown", unexpected))
            if keys
        ]
        raise TeacherError(
            f"{source}: not this network: {'; '.join(differences)}; "
            "set [teacher] model and head as in the file"
        )
    heads = [path for path, layer in net.named_modules() if isinstance(layer, nn.Linear)]
    for key, tensor in wanted.items():
        ours, theirs = tuple(tensor.shape), tuple(weights[key].shape)
        if heads and key.rpartition(".")[0] == heads[-1] and ours[:1] != theirs[:1]:
            raise TeacherError(f"{source}: has {theirs[0]} classes, the data has {ours[0]}")
        if ours != theirs:
            raise TeacherError(
                f"{source}: {key} has shape {theirs}, this network needs {ours}; "
                "set [teacher] model and head, [data] image_size to what it was trained with"
            )
    with torch.no_grad():  # not load_state_dict, which asks some networks' weights for a version as well
        for key, tensor in wanted.items():
            tensor.copy_(weights[key])


def to_bytes(weights: Mapping[str, Tensor]) -> bytes:
    return save({key: tensor.detach().cpu().contiguous() for key, tensor in weights.items()})


def from_bytes(content: bytes, source: str = "stored weights") -> dict[str, Tensor]:
    """The weights of a safetensors file, on the CPU. Raises TeacherError, naming `source`."""
    try:
        return load(content)
    except SafetensorError:
        raise TeacherError(f"{source}: not a whole safetensors file; save it again") from None


def listed(keys: list[str]) -> str:
    """The first three keys, and how many more."""
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more
