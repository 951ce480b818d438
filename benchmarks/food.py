"""Ten classes of Food-101 at 32 pixels and one teacher of them, beside Fashion-MNIST's in `fashion.py`.

The photographs are `food101-10_64.tar`, found through KDSEARCH_TEST_DATA; nothing downloads them.
"""

import os
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

from kdsearch.cache import digest, entry, locked, making

TAR = "food101-10_64.tar"


class Food(NamedTuple):
    """How many of the 2,998 training images, with all 750 validation images, and which teacher."""

    train: int
    image_size: int
    teacher: str
    teacher_epochs: int

    def data(self) -> dict[str, Any]:
        """As fashion.Part."""
        return {"path": str(unpacked()), "image_size": self.image_size, "train_images": self.train}


def unpacked() -> Path:
    """The folder of the tar's images, unpacked once into the cache."""
    packed = Path(os.environ["KDSEARCH_TEST_DATA"]) / TAR
    path = entry("benchmarks", digest(TAR))
    with locked(path):
        if not path.exists():
            with making(path, 2 * packed.stat().st_size) as folder, tarfile.open(packed) as tar:
                tar.extractall(folder, filter="data")
    return path
