"""A teacher of several networks, each of which has never seen a part of the training images."""

import math
from copy import deepcopy

import torch
from torch import Tensor, log_softmax, nn

from kdsearch.models.teachers import Teacher
from kdsearch.outputs import Outputs


class Folded(nn.Module):
    """As many networks as there are folds: number f was not trained on the training images of fold f.

    `fold` names the fold of each training image; it is part of the weights, so that it stays with them.
    """

    fold: Tensor  # int64, N

    def __init__(self, network: Teacher, folds: int, images: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(deepcopy(network) for _ in range(folds))
        self.register_buffer("fold", torch.zeros(images, dtype=torch.int64))
        self.shapes = network.shapes._replace(hints={})

    def forward(self, images: Tensor) -> Outputs:
        """For images that all are new to: the logarithm of the mean probability, and no embedding."""
        each = torch.stack([log_softmax(network(images).logits.float(), dim=1) for network in self.networks])
        return Outputs(each.logsumexp(dim=0) - math.log(len(each)), images.new_empty(len(images), 0), {})

    def held_out(self, images: Tensor, rows: Tensor) -> Outputs:
        """For training images with these row numbers, each by the network that was not trained on it.

        A mixed image has one row: both its parts must be of one fold.
        """
        fold = self.fold[rows.to(self.fold.device)]
        parts = [(fold == number).nonzero().flatten() for number in range(len(self.networks))]
        answered = [
            network(images[part]) for network, part in zip(self.networks, parts, strict=True) if len(part)
        ]
        order = torch.cat(parts).argsort()
        logits = torch.cat([outputs.logits for outputs in answered])
        embeddings = torch.cat([outputs.embedding for outputs in answered])
        return Outputs(logits[order], embeddings[order], {})
