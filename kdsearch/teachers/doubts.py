"""Signs that students have little to learn from a teacher, said as early as they are seen."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, one_hot

from kdsearch.data.image_set import ImageSet, SearchSets
from kdsearch.store.facts import TeacherFacts
from kdsearch.study.teachers import label

SIDE = 12  # pixels to which images are reduced for the linear model
MOST = 4000  # training images that it reads
RIDGE = 10.0  # its weight decay
MARGIN = 0.005  # more accuracy than a teacher's, that is not a few validation images
WAYS_OUT = (
    "start it from pretrained weights ([teacher] pretrained, a network of timm's), show it larger images "
    '(image_size), train it longer, or leave it out (distillation.loss = "ce")'
)


def outdone(teachers: Mapping[str, TeacherFacts], accuracy: float) -> list[str]:
    """A line for each teacher that a student with `accuracy` on the validation images clearly beats."""
    return [
        f"teacher {label(name, facts.model)}: its validation accuracy, {facts.accuracy:.2%}, is beaten by a "
        f"student that learned without it; {WAYS_OUT}"
        for name, facts in teachers.items()
        if facts.accuracy + MARGIN < accuracy
    ]


def weak(teachers: Mapping[str, TeacherFacts], sets: SearchSets) -> list[str]:
    """A line for each teacher that is not better than a linear model of the images' pixels."""
    if not teachers:
        return []
    simple = linear_accuracy(sets)
    return [
        f"teacher {label(name, facts.model)}: its validation accuracy, {facts.accuracy:.2%}, is no better "
        f"than that of a linear model of {SIDE} x {SIDE} pixels, {simple:.2%}; {WAYS_OUT}"
        for name, facts in teachers.items()
        if facts.accuracy <= simple
    ]


def linear_accuracy(sets: SearchSets) -> float:
    """The validation accuracy, 0 to 1, of ridge regression on reduced pixels, or of the largest class."""
    train, validation = sets.train, sets.validation
    rows = torch.linspace(0, len(train) - 1, min(MOST, len(train))).long()
    inputs, labels = _pixels(train, rows), train.labels[rows]
    targets = one_hot(labels, len(train.classes)).float()
    shift, spread = inputs.mean(0), inputs.std(0).clamp_min(1e-3)
    inputs = (inputs - shift) / spread
    square = inputs.T @ inputs + RIDGE * torch.eye(inputs.shape[1])
    weights = torch.linalg.solve(square, inputs.T @ (targets - targets.mean(0)))
    seen = (_pixels(validation, torch.arange(len(validation))) - shift) / spread
    guesses = (seen @ weights + targets.mean(0)).argmax(1)
    largest = (validation.labels == labels.mode().values).float().mean()
    return max(float((guesses == validation.labels).float().mean()), float(largest))


def _pixels(images: ImageSet, rows: Tensor) -> Tensor:
    pixels = images.images[rows].float() / 255
    side = min(SIDE, pixels.shape[-1])
    return adaptive_avg_pool2d(pixels, side).flatten(1)
