"""Relational distillation."""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pdist, smooth_l1_loss
from torch.utils.checkpoint import checkpoint

from kdsearch.config import Range, Record
from kdsearch.distill.loss import Loss
from kdsearch.outputs import Outputs, Shapes

ANCHORS = 256  # whose angles are held at once: B x D differences and B x B angles each


class RKD(Loss):
    """Distances and angles between embeddings, arXiv 1904.05068 (2019), equations 5 to 9.

    `distance` times the Huber loss of pairwise distances, each divided by its batch's mean, and `angle`
    times that of the cosines of all angles between three embeddings; averaged over distinct pairs and
    triplets of the B images; fewer than three have no angles. Widths of student and teacher may differ. Above
    256 images angles are computed twice instead of kept: memory grows with 256 B^2, not B^3.
    """

    reads: ClassVar = frozenset({"embedding"})

    class Config(Record):
        distance: Annotated[float, Field(ge=0), Range(1, 100, log=True)] = 25.0
        angle: Annotated[float, Field(ge=0), Range(2, 200, log=True)] = 50.0

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        self.anchors = ANCHORS

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> dict[str, Tensor]:
        ours, theirs = student.embedding.float(), teacher.embedding.float()
        images = len(ours)
        pairs, triplets = images * (images - 1) / 2, images * (images - 1) * (images - 2)
        distance = smooth_l1_loss(_relative(ours), _relative(theirs), reduction="sum") / max(1, pairs)
        chunks = [slice(start, start + self.anchors) for start in range(0, images, self.anchors)]
        summed = sum(
            (
                checkpoint(_angle_loss, ours, theirs, chunk, use_reentrant=False)
                if len(chunks) > 1
                else _angle_loss(ours, theirs, chunk)
            )
            for chunk in chunks
        )
        return {
            "rkd_distance": self.config.distance * distance,
            "rkd_angle": self.config.angle * torch.as_tensor(summed) / max(1, triplets),
        }


def _relative(embedding: Tensor) -> Tensor:
    """Distances of distinct pairs over their mean; all 0 if all embeddings are equal."""
    apart = pdist(embedding)
    return apart / (apart.sum() / max(1, len(apart))).clamp_min(1e-12)


def _angle_loss(ours: Tensor, theirs: Tensor, anchors: slice) -> Tensor:
    """Summed over the anchors' triplets; if two of the three are one image, both sides agree."""
    return smooth_l1_loss(angles(ours, anchors), angles(theirs, anchors), reduction="sum")


def angles(embedding: Tensor, anchors: slice) -> Tensor:
    """Cosines of the angles at each of A anchors between the ways to all pairs of embeddings, A x B x B.

    0, without a gradient, if an embedding is or equals the anchor.
    """
    embedding = embedding.float()
    ways = embedding - embedding[anchors].unsqueeze(1)
    square = ways.square().sum(2, keepdim=True)
    ways = ways * torch.where(square > 0, square, torch.inf).rsqrt()
    return ways @ ways.transpose(1, 2)
