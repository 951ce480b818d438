"""Seeded, stratified splits, and images that occur twice."""

import hashlib
import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdsearch.data.image_set import ImageSet
from kdsearch.errors import DataError

Sizes = NDArray[np.int64]


def quotas(sizes: Sizes, count: int) -> Sizes:
    """Splits `count` among classes of the given sizes: proportional, rounded by largest remainder.

    Ties go to the lower class number. The quotas add up to `count`, which is at most the sum of the sizes.
    """
    shares: Sizes = sizes * count // sizes.sum()
    remainders = sizes * count % sizes.sum()
    missing = count - int(shares.sum())
    shares[np.argsort(-remainders, kind="stable")[:missing]] += 1
    return shares


def draw(labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of `count` images drawn class by class, and of the rest; both ascending.

    The same labels, count and seed give the same draw.
    """
    generator = np.random.default_rng(seed)
    numbers = labels.numpy()
    sizes = np.bincount(numbers)
    drawn = np.zeros(len(numbers), dtype=bool)
    for label, quota in enumerate(quotas(sizes, count)):
        members = np.flatnonzero(numbers == label)
        drawn[generator.permutation(members)[:quota]] = True
    return torch.from_numpy(np.flatnonzero(drawn)), torch.from_numpy(np.flatnonzero(~drawn))


class Held(NamedTuple):
    """A training set, the images held out of it, and how many copies had to stay in training."""

    train: ImageSet
    validation: ImageSet
    stayed: int


def hold_out(image_set: ImageSet, fraction: float, seed: int) -> Held:
    """Holds out that fraction (rounded up) of the images, stratified; exact copies of a training image stay.

    The fraction is the decimal as written: 0.07 of 100 images are 7, though floats make it 8. Raises
    DataError if a class has too few images for both sides.
    """
    chosen, rest = draw(image_set.labels, math.ceil(Fraction(str(fraction)) * len(image_set)), seed)
    known = {pixel_hash(image_set.images[index]) for index in rest}
    is_copy = [pixel_hash(image_set.images[index]) in known for index in chosen]
    copies = torch.tensor(is_copy, dtype=torch.bool)
    rest = torch.cat([rest, chosen[copies]]).sort().values
    held = Held(image_set.select(rest), image_set.select(chosen[~copies]), int(copies.sum()))
    for number, name in enumerate(image_set.classes):
        if not all((part.labels == number).any() for part in (held.train, held.validation)):
            has = int((image_set.labels == number).sum())
            raise DataError(
                f"class {name!r}: its {has} images are too few to hold out a share of {fraction:g}; "
                "add different ones, or change data.validation"
            )
    return held


def folds(image_set: ImageSet, count: int, seed: int) -> Tensor:
    """The fold of each image, int64 N from 0: stratified, with exact copies of an image in one fold.

    Numbers of different images differ by at most one between folds, for each class and in all.
    """
    known: dict[bytes, int] = {}
    first = [known.setdefault(pixel_hash(image), row) for row, image in enumerate(image_set.images)]
    different, which = np.unique(first, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(different))
    by_class = shuffled[np.argsort(image_set.labels.numpy()[different[shuffled]], kind="stable")]
    fold = np.empty_like(by_class)
    fold[by_class] = np.arange(len(different)) % count
    return torch.from_numpy(fold[which])


def subset(image_set: ImageSet, count: int, seed: int) -> ImageSet:
    """A stratified draw of `count` images. Raises DataError if it is too large, or leaves out a class."""
    labels, most = image_set.labels, len(image_set)
    drawn = draw(labels, count, seed)[0] if count <= most else torch.empty(0, dtype=torch.int64)
    if not torch.bincount(labels[drawn], minlength=len(image_set.classes)).all():
        least = math.ceil(most / int(torch.bincount(labels).min()))
        raise DataError(
            f"data.train_images = {count}: not possible here; allowed: {least} (one of each class) "
            f"to {most} (all)"
        )
    return image_set.select(drawn)


def pixel_hash(image: Tensor) -> bytes:
    """A hash of an image C x H x W, equal exactly if the pixels are; gray counts as three equal channels."""
    return hashlib.blake2b(image.expand(3, -1, -1).contiguous().numpy().data, digest_size=16).digest()


def count_copies(image_set: ImageSet, among: ImageSet) -> int:
    """How many images of the set are also in `among`, equal in every pixel."""
    known = set(map(pixel_hash, among.images))
    return sum(pixel_hash(image) in known for image in image_set.images)
