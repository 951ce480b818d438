"""Scores a network on images that it was not trained on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from kdsearch.device import exact, moved
from kdsearch.models.student import as_input
from kdsearch.outputs import Outputs

BATCH = {"cpu": 128, "cuda": 1024}  # images; on a CPU a batch that stays in its cache is no slower

Answer = Callable[[Any, Tensor], Outputs]  # of a network of its own kind


class Score(NamedTuple):
    """Mean cross-entropy and accuracy, 0 to 1."""

    loss: float
    accuracy: float


@torch.inference_mode()
def answer_all(network: nn.Module, answer: Answer, images: Tensor) -> Tensor:
    """The logits of uint8 images N x C x H x W, in evaluation mode: N x C, on the network's device.

    They are computed in float32 on every device, as in an exported network: bfloat16 has 8 bits, and the
    logits of many images would tie.
    """
    network.eval()
    device = next(network.parameters()).device
    batches = -(-len(images) // BATCH[device.type])
    size = -(-len(images) // batches)  # even ones: each size has compiled kernels of its own
    with exact(device):
        parts = (moved(batch, device) for batch in torch.split(images, size))
        return torch.cat([answer(network, as_input(part)).logits for part in parts])


def named_right(network: nn.Module, answer: Answer, images: Tensor, labels: Tensor) -> list[bool]:
    """Which of the images `evaluate` counts as right."""
    return _equal(answer_all(network, answer, images), labels)


@torch.inference_mode()
def named_right_mirrored(network: nn.Module, answer: Answer, images: Tensor, labels: Tensor) -> list[bool]:
    """Which images are right by the mean of an image's and its mirror image's probabilities."""

    def mirrored(network: nn.Module, batch: Tensor) -> Outputs:
        return answer(network, batch.flip(-1))

    probabilities = answer_all(network, answer, images).softmax(1)
    return _equal(probabilities + answer_all(network, mirrored, images).softmax(1), labels)


def _equal(scores: Tensor, labels: Tensor) -> list[bool]:
    right: list[bool] = (scores.argmax(dim=1) == labels).tolist()
    return right


def confusion(network: nn.Module, answer: Answer, images: Tensor, labels: Tensor) -> Tensor:
    """Counts of images, classes x classes: a row for each true class, a column for each predicted one."""
    predicted = answer_all(network, answer, images)
    classes = predicted.shape[1]
    cells = labels * classes + predicted.argmax(dim=1)
    return torch.bincount(cells, minlength=classes**2).reshape(classes, classes)


@torch.inference_mode()
def evaluate(network: nn.Module, answer: Answer, images: Tensor, labels: Tensor) -> Score:
    """Scores the network on uint8 images N x C x H x W with labels N, these on the network's device."""
    logits = answer_all(network, answer, images)
    correct = (logits.argmax(dim=1) == labels).float().mean()
    loss, accuracy = torch.stack([cross_entropy(logits, labels), correct]).tolist()
    return Score(loss, accuracy)
