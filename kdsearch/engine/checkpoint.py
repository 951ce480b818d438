"""A training on disk: one safetensors file, replaced atomically."""

import json
import time
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from kdsearch.engine.training import Training

EVERY = 30.0  # seconds


class Checkpoint:
    """The checkpoint of one trial; `key` says what is trained, and a file with another key is ignored."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self.saved_at = time.monotonic()

    def resume(self, training: Training) -> bool:
        """Loads the state if there is one for this key; says whether it did."""
        if not self.path.exists():
            return False
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("key") != self.key:
                    return False
                names = file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
        except SafetensorError:
            return False  # a disk that filled up: the trial starts again
        training.load_state_dict(tensors, json.loads(metadata["rest"]))
        return True

    def save(self, training: Training, *, now: bool = False) -> None:
        """Writes the state, at most every EVERY seconds unless `now`."""
        if not now and time.monotonic() - self.saved_at < EVERY:
            return
        tensors, rest = training.state_dict()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".part")
        rows = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(rows, temporary, metadata={"key": self.key, "rest": json.dumps(rest)})
        temporary.replace(self.path)
        self.saved_at = time.monotonic()

    def remove(self) -> None:
        """Deletes the file, if there is one."""
        self.path.unlink(missing_ok=True)
