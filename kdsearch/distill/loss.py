"""The interface of all distillation losses, and how they read logits and feature maps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from kdsearch.config import Record
from kdsearch.outputs import Shapes

ANY = ("middle", "last")  # names of feature maps that every network has


class Loss(nn.Module):
    """The distance between the outputs of student and teacher; `loss(config, student, teacher)` takes Shapes.

    `forward(student: Outputs, teacher: Outputs, labels)` returns named float32 scalars, means over the batch,
    whose sum is the loss. It sees outputs and never networks; its own weights, if any, are learned beside the
    student's and never exported.
    """

    reads: ClassVar[frozenset[str]]  # the fields of the teacher's Outputs that it looks at
    Config: ClassVar[type[Record]]  # in which a StudentLayer or TeacherLayer names a feature map
    config: Any

    def __init__(self, config: Any, student: Shapes, teacher: Shapes) -> None:
        super().__init__()
        self.config = config


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


def standardised(logits: Tensor) -> Tensor:
    """Each image's logits minus their mean, divided by their standard deviation: float32, B x C.

    Logit standardisation, arXiv 2403.01427 (2024), algorithm 1: the student need not match the teacher's
    scale, which it seldom can. Logits that are all equal become 0.
    """
    logits = logits.float()
    centred = logits - logits.mean(1, keepdim=True)
    deviation = logits.std(1, keepdim=True)
    standard: Tensor = centred / (deviation + 1e-7)
    return standard


def scaled(logits: Tensor, temperature: float, standardise: bool) -> Tensor:
    """The logits divided by the temperature, in float32, standardised first if `standardise` is true."""
    return (standardised(logits) if standardise else logits.float()) / temperature
