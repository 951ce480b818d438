"""Distances and angles between the embeddings of a batch, B x D."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import normalize

ANCHORS = 256  # whose angles are held at once: B x D differences and B x B angles each


def distances(embedding: Tensor) -> Tensor:
    """Euclidean distances, float32 B x B; the gradient is 0 for two equal embeddings."""
    embedding = embedding.float()
    return torch.cdist(embedding, embedding, compute_mode="donot_use_mm_for_euclid_dist")


def cosines(embedding: Tensor) -> Tensor:
    """Cosine similarities, float32 B x B."""
    unit = normalize(embedding.float(), dim=1)
    return unit @ unit.T


def angles(embedding: Tensor, anchors: slice) -> Tensor:
    """Cosines of the angles at each of A anchors between the ways to all pairs of embeddings, A x B x B.

    0, without a gradient, where an embedding is or equals the anchor.
    """
    embedding = embedding.float()
    ways = embedding - embedding[anchors].unsqueeze(1)
    square = ways.square().sum(2, keepdim=True)
    ways = ways * torch.where(square > 0, square, torch.inf).rsqrt()
    return ways @ ways.transpose(1, 2)


def anchor_chunks(batch: int, at_once: int = ANCHORS) -> Iterator[slice]:
    """The rows of a batch, so many at once that their angles fit into memory."""
    yield from (slice(start, start + at_once) for start in range(0, batch, at_once))
