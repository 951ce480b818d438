"""Full learning curves of random trials on two data sets: what `pruners.py` replays.

A curve is the validation accuracy after each epoch, and one bit for each validation image: whether the answer
is right. `recording.py` makes them.
"""

import json
import zlib
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SETS = "digits", "food"


class Curve(NamedTuple):
    """One trial, trained to its end."""

    slowness: float  # alpha times temperature; 0 without a teacher
    accuracy: NDArray[np.float64]  # of each epoch, 0 to 1
    right: NDArray[np.bool_]  # epochs x validation images


def results(name: str) -> Path:
    """Where the curves of a data set are kept."""
    return Path(__file__).parent / "results" / f"curves_{name}.json"


def read(name: str) -> list[Curve]:
    """The recorded curves of a data set, by number."""
    kept = json.loads(results(name).read_text(encoding="utf-8"))["parts"]
    return [_curve(kept[number]) for number in sorted(kept)]


def _curve(kept: dict[str, Any]) -> Curve:
    accuracy = np.array(kept["accuracy"])
    right = unpacked(kept["right"], kept["images"], len(accuracy))
    return Curve(kept["alpha"] * kept["temperature"], accuracy, right)


def packed(right: NDArray[np.bool_]) -> str:
    """The bits, epochs x images, as text; image by image, where those always right make long runs."""
    return b64encode(zlib.compress(np.packbits(right.T).tobytes(), 9)).decode()


def unpacked(text: str, images: int, epochs: int) -> NDArray[np.bool_]:
    """What `packed` was given."""
    bits = np.unpackbits(np.frombuffer(zlib.decompress(b64decode(text)), np.uint8), count=images * epochs)
    return bits.reshape(images, epochs).T.astype(bool)
