"""A training on disk: one safetensors file, replaced atomically."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from kdsearch.engine.training import Training

EVERY = 30.0  # seconds
FORMAT = 2  # of the file: raise it when the same training is written in another way
# What reading a file may raise that was cut, damaged, or written by another version.
UNUSABLE = (OSError, SafetensorError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class Checkpoint:
    """The checkpoint of one trial; `key` says what is trained, and a file with another key is ignored.

    A file that cannot be read or written does not end a training: `say` gets a line with the reason.
    `every` and `clock` are in seconds.
    """

    def __init__(
        self,
        path: Path,
        key: str,
        say: Callable[[str], None],
        *,
        every: float = EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path, self.key, self.say = path, key, say
        self.every, self.clock = every, clock
        self.part = path.with_suffix(".part")  # of the next file, while it is being written
        self.saved_at = clock()
        self.epochs = 0  # that the file holds

    def resume(self, make: Callable[[], Training]) -> Training:
        """A training from `make`, continued from the file if there is one for this key.

        If the file cannot be used, this calls `make` again, so that nothing of the file is in the training.
        """
        training = make()
        try:
            stored = self._read(training.device)
            if stored is None:
                return training
            training.load_state_dict(*stored)
        except UNUSABLE as error:
            self.say(f"{self.path}: cannot be used ({_reason(error)}); the trial begins anew")
            return make()
        self.epochs = len(training.results)
        return training

    def save(self, training: Training, *, now: bool = False) -> None:
        """Writes the state, at most once in `every` seconds unless `now`.

        If that fails, the earlier file stays, and one line says which state the trial resumes from.
        """
        if not now and self.clock() - self.saved_at < self.every:
            return
        self.saved_at = self.clock()
        try:
            self._write(training)
        except (OSError, RuntimeError) as error:  # a full disk, a share that is gone; a GPU that is lost
            with suppress(OSError):
                self.part.unlink(missing_ok=True)
            self.say(self._unsaved(_reason(error), stopping=now))
        else:
            self.epochs = len(training.results)

    def _unsaved(self, reason: str, *, stopping: bool) -> str:
        earlier = f"its checkpoint of epoch {self.epochs}" if self.epochs else "its beginning"
        if stopping:
            return f"{self.path}: the trial could not be saved ({reason}); it resumes from {earlier}"
        where = self.path.parent
        return f"{where}: no checkpoint can be written ({reason}); training goes on without one"

    def _read(self, device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The file's content, None if there is no file for this key. Raises ValueError, see UNUSABLE."""
        if not self.path.exists():
            return None
        with safe_open(self.path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("key") != self.key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a mapping
        if "writer" in metadata:  # format 1 names none: whether such a file fits shows when it is loaded
            if metadata["writer"] != _writer(device):
                raise ValueError(f"written by {metadata['writer']}; this is {_writer(device)}")
            if metadata["checksum"] != _checksum(tensors, metadata["rest"]):
                raise ValueError("damaged")
        return tensors, json.loads(metadata["rest"])

    def _write(self, training: Training) -> None:
        tensors, state = training.state_dict()
        rows = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        rest = json.dumps(state)
        metadata = {
            "key": self.key,
            "rest": rest,
            "writer": _writer(training.device),
            "checksum": _checksum(rows, rest),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.part.write_bytes(save(rows, metadata))
        self.part.replace(self.path)


def _writer(device: torch.device) -> str:
    """What two trainings must share for one to continue the other: random states depend on the device."""
    version = ".".join(torch.__version__.split(".")[:2])
    return f"format {FORMAT}, torch {version}, {device.type}"


def _checksum(tensors: Mapping[str, Tensor], rest: str) -> str:
    """The checksum of a file's whole content: safetensors itself notices only a truncated file."""
    digest = hashlib.sha256(rest.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    """One line with the reason of the system, or ours."""
    ours = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
    text = getattr(error, "strerror", None) or ours
    return str(text).splitlines()[0]
