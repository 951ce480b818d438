"""The feature maps that losses compare, brought to one size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

ANY = ("middle", "last")  # names that every network has


@dataclass(frozen=True)
class LayerOf:
    """Marks the setting of a loss that names a layer of this network."""

    network: Literal["student", "teacher"]


StudentLayer = Annotated[str, Field(pattern=r"^(middle|last|stem|stage[1-5])$"), LayerOf("student")]
TeacherLayer = Annotated[str, LayerOf("teacher")]


def layer_named(hints: Mapping[str, object], name: str) -> str:
    """The hint of that name; `middle` and `last` count along the forward pass. Raises ValueError."""
    names = list(hints)
    if name == "middle":
        return names[len(names) // 2]
    if name == "last":
        return names[-1]
    if name not in hints:
        raise ValueError(f"no layer {name!r}; known: {', '.join([*ANY, *names])}")
    return name


def same_size(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps, float32, the larger one averaged down to the pixels of the smaller."""
    size = min(ours.shape[2], theirs.shape[2]), min(ours.shape[3], theirs.shape[3])
    return adaptive_avg_pool2d(ours.float(), size), adaptive_avg_pool2d(theirs.float(), size)
