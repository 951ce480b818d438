"""Distillation of the distance matrix."""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

from kdsearch.config import Choices, Range, Record
from kdsearch.distill.loss import Loss
from kdsearch.outputs import Outputs


class DM(Loss):
    """`weight * MSE(D_student, D_teacher)` of the B x B matrices of the embeddings' distances, or cosines.

    The distance-matrix loss of the 2023 course task; the mean runs over all B^2 entries. Widths may differ.
    Distances have the scale of the teacher's embedding, hundreds when squared, and want a weight of about
    0.001; cosines lie in -1..1 whatever the teacher, and take 1.
    """

    reads: ClassVar = frozenset({"embedding"})

    class Config(Record):
        metric: Annotated[Literal["euclidean", "cosine"], Choices.of("euclidean", "cosine")] = "cosine"
        weight: Annotated[float, Field(gt=0), Range(0.0001, 10, log=True)] = 1.0

    config: Config

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> dict[str, Tensor]:
        matrix = METRICS[self.config.metric]
        return {"dm": self.config.weight * mse_loss(matrix(student.embedding), matrix(teacher.embedding))}


def distances(embedding: Tensor) -> Tensor:
    """Euclidean distances, float32 B x B; the gradient is 0 for two equal embeddings."""
    embedding = embedding.float()
    return torch.cdist(embedding, embedding, compute_mode="donot_use_mm_for_euclid_dist")


def cosines(embedding: Tensor) -> Tensor:
    """Cosine similarities, float32 B x B."""
    unit = normalize(embedding.float(), dim=1)
    return unit @ unit.T


METRICS = {"euclidean": distances, "cosine": cosines}
