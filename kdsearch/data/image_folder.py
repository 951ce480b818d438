"""A user's own folder of images as a source."""

import math
import os
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from kdsearch.cache import digest
from kdsearch.data.decode import decode_all, usual_side
from kdsearch.data.folders import Files, compare_classes, deeper, layout, listing, numbered, spelled_as
from kdsearch.data.image_set import WINDOW, ImageSet, Parts, Source
from kdsearch.data.split import pixel_hash
from kdsearch.data.walk import NAMES, PassedOver, told
from kdsearch.errors import DataError
from kdsearch.files import read_text
from kdsearch.names import class_names_fault, visible
from kdsearch.progress import Progress
from kdsearch.tables import FOLDER_SIZE, DataConfig

SOURCE_BYTES = 4 * 2**30  # that source pixels may take, unless the study gives their size
NAMES_FILE = "classes.txt"
DIGITS = 18  # more are no class's number


class Read(NamedTuple):
    """One split's images, the files they came from, and the hashes of their pixels."""

    image_set: ImageSet
    files: list[Path]
    hashes: list[bytes]
    skipped: int


class ImageFolder(Source):
    """Class folders, inside split folders or not, or split folders of CLASS_ID.jpg (Food-11's layout)."""

    def __init__(self, root: Path, config: DataConfig, *, source_bytes: int = SOURCE_BYTES) -> None:
        self.config, self.window, self.source_bytes = config, WINDOW, source_bytes
        self.layout = layout(root)
        training = listing(self.layout.training, root)
        self.training, self.passed = training.files, {"": self.layout.passed, "training": training.passed}
        keys = list(self.training)
        self.classes = class_names(root, keys)
        self.passed[""] += unused_names(root, keys)
        if fault := class_names_fault(self.classes):
            raise DataError(f"{root}: {fault}")
        if len(self.classes) < 2:
            raise DataError(
                f"{self.layout.training}: only one class ({self.classes[0]!r}); two are needed{self.hint()}"
            )
        self.validation: Files | None = None
        if self.layout.validation is not None:
            files = listing(self.layout.validation, root)
            self.validation, self.passed["validation"] = spelled_as(self.training, files.files), files.passed
            compare_classes(self.training, self.validation, self.layout.validation)

    @cached_property
    def source_size(self) -> int | None:
        """Pixels a side of what training crops are cut from; None if that is the images' size.

        Unless the study gives it: twice the images' size, as far as half of the files have that, and no more
        than `source_bytes` hold. The same files give the same size on every machine.
        """
        size = self.config.image_size or FOLDER_SIZE
        source = self.config.source_size
        if source is None:
            parts = (self.training, self.validation or {})
            files = [path for part in parts for members in part.values() for path in members]
            most = math.isqrt(self.source_bytes // (3 * len(files)))
            source = min(2 * size, most, usual_side(files))
        return source if source > size else None

    def hint(self) -> str:
        """A hint to the folder that may hold the classes, for error messages."""
        below = deeper(self.layout.training)
        if below is None or below == self.layout.training:
            return ""
        cure = f"try --data {below}" if self.layout.training == self.layout.root else "move these up"
        return f"; {below} holds several folders: {cure}"

    def identity(self) -> object:
        """Names, sizes and times of the files that a search may see, and the class names."""
        root = self.layout.root
        files = [
            path for part in (self.training, self.validation or {}) for each in part.values() for path in each
        ]
        stats = [(path.relative_to(root).as_posix(), stat(path)) for path in files]
        return digest(self.classes, [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])

    def left_out(self) -> list[str]:
        """The files in the folders of training and validation that are not read."""
        return [
            f"{f'{split}: ' if split else ''}{', '.join(told(passed, self.layout.root))}"
            for split, passed in self.passed.items()
            if passed
        ]

    def search(self, progress: Progress) -> Parts:
        """The training split and, if there is a folder for it, the validation split.

        Raises DataError for corrupt files and for images in both splits, if the study does not allow them.
        """
        train = self.read(self.training, "training", progress)
        if self.validation is None:
            return Parts(train.image_set, None, train.skipped, in_two_classes([train], self.layout.root))
        validation = self.read(self.validation, "validation", progress)
        notes = [self.compare(train, validation), in_two_classes([train, validation], self.layout.root)]
        return Parts(
            *same_channels(train.image_set, validation.image_set),
            train.skipped + validation.skipped,
            "; ".join(filter(None, notes)),
        )

    def test(self, progress: Progress) -> ImageSet:
        """The test split, with training's classes, though it need not have images of each."""
        folder = self.layout.test
        if folder is None:
            raise DataError(
                f"{self.layout.root}: no test images: no folder evaluation, testing or test there"
            )
        split = listing(folder, self.layout.root)
        if split.passed:
            progress.say(f"left out: test: {', '.join(told(split.passed, self.layout.root))}")
        files = spelled_as(self.training, split.files)
        for key in sorted(files.keys() - self.training.keys()):
            raise DataError(f"{folder}: class {key!r} is not in training")
        return self.read(files, "test", progress).image_set

    def read(self, files: Files, split: str, progress: Progress) -> Read:
        """Decodes one split. Raises DataError if no image of a class could be read."""
        keys = list(self.training)
        paths = [path for members in files.values() for path in members]
        labels = torch.tensor([keys.index(key) for key, members in files.items() for _ in members])
        if len(paths) > self.window:  # else a window would hold the images of a few classes
            order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(0))
            paths, labels = [paths[index] for index in order.tolist()], labels[order]
        decoded = decode_all(
            paths,
            self.config.image_size or FOLDER_SIZE,
            progress,
            f"decode {split}",
            skip_corrupt=self.config.skip_corrupt,
            fit=self.config.fit,
            source_size=None if split == "test" else self.source_size,
        )
        labels = labels[decoded.kept]
        for key in files:
            if not (labels == keys.index(key)).any():
                raise DataError(f"{files[key][0].parent}: no image of class {key!r} in {split} could be read")
        kept = [paths[index] for index in decoded.kept.tolist()]
        hashes = [pixel_hash(image) for image in decoded.images]
        image_set = ImageSet(decoded.images, labels, self.classes, source=decoded.source)
        return Read(image_set, kept, hashes, len(paths) - len(kept))

    def compare(self, train: Read, validation: Read) -> str:
        """A note on images that are in both splits. Raises DataError if the study does not allow them."""
        known = dict(zip(train.hashes, train.files, strict=True))
        hashes = zip(validation.hashes, validation.files, strict=True)
        pairs = [(known[each], file) for each, file in hashes if each in known]
        if not pairs:
            return ""
        if self.config.allow_duplicates:
            return f"{len(pairs)} of {len(validation.files)} validation images are also in training"
        more = f" (and {len(pairs) - 1} more)" if len(pairs) > 1 else ""
        raise DataError(
            f"{pairs[0][0]} and {pairs[0][1]} are the same image, in training and validation{more}; "
            "remove one, or set data.allow_duplicates = true"
        )


def stat(path: Path) -> os.stat_result:
    """The status of the file, or of the link itself if it leads nowhere."""
    try:
        return path.stat()
    except OSError:
        return path.lstat()


def in_two_classes(reads: list[Read], root: Path) -> str:
    """A note on images with copies in two classes, which names two of the files."""
    known: dict[bytes, tuple[int, Path]] = {}
    pairs: dict[bytes, tuple[Path, Path]] = {}
    for read in reads:
        for each, label, file in zip(read.hashes, read.image_set.labels.tolist(), read.files, strict=True):
            other, copy = known.setdefault(each, (label, file))
            if other != label:
                pairs.setdefault(each, (copy, file))
    if not pairs:
        return ""
    one, two = (visible(path.relative_to(root).as_posix()) for path in next(iter(pairs.values())))
    lie = "pictures lie" if len(pairs) > 1 else "picture lies"
    return f"{len(pairs)} {lie} in two classes, for example {one} and {two}"


def same_channels(train: ImageSet, validation: ImageSet) -> tuple[ImageSet, ImageSet]:
    """Both gray or both in colour: a gray one beside a coloured one gets three equal channels."""
    channels = max(each.images.shape[1] for each in (train, validation))
    return with_channels(train, channels), with_channels(validation, channels)


def with_channels(image_set: ImageSet, channels: int) -> ImageSet:
    def deep(pixels: Tensor) -> Tensor:
        return pixels.expand(-1, channels, -1, -1).contiguous()

    source = None if image_set.source is None else deep(image_set.source)
    return replace(image_set, images=deep(image_set.images), source=source)


def class_names(root: Path, keys: list[str]) -> tuple[str, ...]:
    """The classes' names: from lines `NUMBER<TAB>NAME` of `classes.txt` if there is one, else the keys.

    Raises DataError for a file that is not text in UTF-8, a line of another form, a class in it without
    images or with two lines, and two classes with one name.
    """
    path = root / NAMES_FILE
    if not os.path.lexists(path) or not numbered(keys):
        return tuple(keys)
    names: dict[int, str] = {}
    for line, text in enumerate(read_text(path, DataError).splitlines(), start=1):
        if text.strip():
            number, name = parsed(text.strip(), f"{path}, line {line}")
            if number in names:
                raise DataError(f"{path}, line {line}: class {number} is {names[number]!r} already")
            names[number] = name
    for number in names.keys() - {int(key) for key in keys}:
        raise DataError(
            f"{path}: class {number} ({names[number]}) has no images; add some, or remove the line"
        )
    names_by_key = tuple(names.get(int(key), key) for key in keys)
    named: dict[str, str] = {}
    for key, name in zip(keys, names_by_key, strict=True):
        other = named.setdefault(name, key)
        if other != key:
            raise DataError(f"{path}: classes {other} and {key} are both named {name!r}; rename one")
    return names_by_key


def parsed(text: str, place: str) -> tuple[int, str]:
    """The number and the name in a line. Raises DataError, which names the line."""
    key, tab, name = text.partition("\t")
    if not tab or not key.isdecimal() or len(key) > DIGITS:
        raise DataError(f"{place}: expected NUMBER, a tab, NAME; found {text!r}")
    return int(key), name.strip()


def unused_names(root: Path, keys: list[str]) -> list[PassedOver]:
    """The file, if it exists although the classes are not numbers."""
    path = root / NAMES_FILE
    return [PassedOver(path, NAMES)] if os.path.lexists(path) and not numbered(keys) else []
