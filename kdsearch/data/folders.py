"""Images in folders: which split and class each file belongs to, by names alone."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from kdsearch.data.walk import (
    BESIDE,
    BROKEN,
    EMPTY,
    STRAY,
    SUFFIXES,
    Content,
    Inode,
    PassedOver,
    ancestors,
    content,
    images_below,
    inode,
    told,
)
from kdsearch.errors import DataError

SPLITS = {
    "training": {"training", "train"},
    "validation": {"validation", "valid", "val"},
    "test": {"evaluation", "testing", "test"},
}
DEEPEST = 8  # folders around the data: far more than a mistake makes, and an end for a link that circles
CLASS_ID = re.compile(r"(\d+)_.+")  # Food-11's 3_17.jpg is class 3

Files = dict[str, list[Path]]  # by class: a folder's name, or the number in CLASS_ID


class Layout(NamedTuple):
    """The folders of a data set's splits; without named ones the root itself is the training split."""

    root: Path
    training: Path
    validation: Path | None
    test: Path | None
    passed: list[PassedOver]  # folders beside the splits


class Listing(NamedTuple):
    """The images of one split, and the other files in its folder."""

    files: Files
    passed: list[PassedOver]


def layout(root: Path) -> Layout:
    """Finds the splits by their folders' usual names.

    Raises DataError if only training is missing, if two folders are one split, if a training folder without
    other splits may be a class among others, and if a class folder contains splits.
    """
    inner = content(root)
    by_split = {split: one_of(inner, names) for split, names in SPLITS.items()}
    splits = [folder for folder in by_split.values() if folder is not None]
    beside = [folder for folder in inner.folders if folder not in splits] if splits else []
    if splits and by_split["training"] is None:
        raise DataError(
            f"{root}: has {splits[0].name!r} but no folder named 'train' or 'training' beside it; "
            f"name the training folder so, or rename {splits[0].name!r} if it is a class"
        )
    if len(splits) == 1 and (classes := [folder for folder in beside if holds_images(folder)]):
        raise DataError(
            f"{root}: {splits[0].name!r} is taken for the training split, and {quoted(classes)} beside it "
            f"would be left out; rename {splits[0].name!r} if it is a class, or give --data {splits[0]}"
        )
    if not splits:
        check_no_splits_below(inner.folders)
    passed = [PassedOver(folder, BESIDE) for folder in beside]
    return Layout(root, by_split["training"] or root, by_split["validation"], by_split["test"], passed)


def one_of(inner: Content, names: Collection[str]) -> Path | None:
    """The folder with one of these names, in any case. Raises DataError for two, or a broken link."""
    matches = [folder for folder in inner.folders if folder.name.lower() in names]
    broken = [path for path, why in inner.passed if why == BROKEN and path.name.lower() in names]
    if broken:
        raise DataError(f"{broken[0]}: is a link that leads nowhere; repair or remove it")
    if len(matches) > 1:
        raise DataError(f"{matches[0].parent}: {quoted(matches)} are one split; keep one of them")
    return matches[0] if matches else None


def check_no_splits_below(folders: list[Path]) -> None:
    """Raises DataError for a class folder that contains training and another split."""
    for folder in folders:
        names = {each.name.lower(): each.name for each in content(folder).folders}
        training, *others = (known & names.keys() for known in SPLITS.values())
        if training and any(others):
            splits = ", ".join(repr(names[name]) for name in sorted(training.union(*others)))
            raise DataError(
                f"{folder}: would be a class, but holds the splits {splits}; "
                f"give --data {folder}, or put the class folders into split folders"
            )


def deeper(folder: Path) -> Path | None:
    """Goes down while a folder has only one folder in it; returns the first one with several."""
    for _ in range(DEEPEST):
        inner = content(folder).folders
        if len(inner) != 1:
            return folder if inner else None
        folder = inner[0]
    return None


def holds_images(folder: Path) -> bool:
    """Whether there are images in the folder or one level below, as far as it can be read."""
    try:
        inner = content(folder)
        return bool(inner.images) or any(content(each).images for each in inner.folders)
    except DataError:
        return False


def quoted(folders: Iterable[Path]) -> str:
    """The names of some folders: the first three, and how many more."""
    names = [repr(folder.name) for folder in folders]
    rest = [f"{len(names) - 3} more"] if len(names) > 3 else []
    *before, last = names[:3] + rest
    return f"{', '.join(before)} and {last}" if before else last


def listing(folder: Path, root: Path) -> Listing:
    """The files of one split by class: from its class folders, or if it has none from names CLASS_ID.jpg.

    Classes are in the order of their numbers, or of their names if one is not a number. Raises DataError for
    a folder without images, a class folder without images, a file name without a class, and an ambiguous
    layout.
    """
    inner = content(folder)
    for path, why in inner.passed:
        if why == BROKEN and not path.suffix:
            raise DataError(f"{path}: is a link that leads nowhere; repair or remove it")
    above = ancestors(root, folder)
    check_class_folders(inner.folders, above)
    below = {path: images_below(path, above) for path in inner.folders}
    passed = [*inner.passed, *(each for class_content in below.values() for each in class_content.passed)]
    if any(class_content.images for class_content in below.values()):
        passed += [PassedOver(path, STRAY) for path in stray(inner)]
        files = {path.name: class_content.images for path, class_content in below.items()}
    else:
        passed += [PassedOver(path, EMPTY) for path in inner.folders]
        files = by_number(inner.images)
    check_found(folder, files, passed)
    return Listing(in_order(files), passed)


def check_class_folders(folders: list[Path], above: set[Inode]) -> None:
    """Raises DataError for a class that is a link to a folder above it, and for two that are one folder."""
    known: dict[Inode, Path] = {}
    for path in folders:
        if (mark := inode(path)) in above:
            raise DataError(f"{path}: is a link to a folder above it; remove it")
        if mark in known:
            raise DataError(
                f"{path.parent}: classes {quoted([known[mark], path])} are the same folder; remove one"
            )
        known[mark] = path


def stray(inner: Content) -> list[Path]:
    """The images beside class folders. Raises DataError if their names have classes as well."""
    for path in inner.images:
        if CLASS_ID.fullmatch(path.stem):
            raise DataError(
                f"{path.parent}: images such as {path.name!r} have their class in the name, and folders such "
                f"as {inner.folders[0].name!r} hold images too; move one kind elsewhere"
            )
    return inner.images


def by_number(paths: list[Path]) -> Files:
    """The classes in file names and their files. Raises DataError for a name without a class."""
    groups: Files = {}
    for path in paths:
        match = CLASS_ID.fullmatch(path.stem)
        if match is None:
            raise DataError(f"{path}: its name has no class, so it has no label; expected CLASS_ID.jpg")
        groups.setdefault(str(int(match[1])), []).append(path)
    return groups


def check_found(folder: Path, files: Files, passed: list[PassedOver]) -> None:
    """Raises DataError for a split or a class without images, and for two spellings of one number."""
    if not any(files.values()):
        raise DataError(
            f"{folder}: no images found{instead(passed, folder)}; expected CLASS/*.jpg or CLASS_ID.jpg "
            "there, or in folders training, validation and evaluation (train, val, test) there"
        )
    for name, members in files.items():
        if not members:
            path = folder / name
            among = [each for each in passed if path in each.path.parents]
            raise DataError(
                f"{path}: class {name!r} has no images{instead(among, path)}; add some, or remove the folder"
            )
    if numbered(files):
        spelled: dict[int, str] = {}
        for name in files:
            other = spelled.setdefault(int(name), name)
            if other != name:
                raise DataError(f"{folder}: classes {other!r} and {name!r} are one number; rename one")


def instead(passed: list[PassedOver], folder: Path) -> str:
    """The files that are there instead of images, and the suffixes of images."""
    if not passed:
        return ""
    return f" but {', '.join(told(passed, folder))}; kdsearch reads {', '.join(SUFFIXES)}"


def numbered(keys: Iterable[str]) -> bool:
    """Whether all classes are numbers."""
    return all(key.isdecimal() for key in keys)


def in_order(files: Files) -> Files:
    """The files sorted by class number, or by class name if one is not a number."""
    order = sorted(files, key=int) if numbered(files) else sorted(files)
    return {name: files[name] for name in order}


def spelled_as(training: Files, files: Files) -> Files:
    """`files` with the numbers spelled as in training: 01 and 1 are one class."""
    if not (numbered(training) and numbered(files)):
        return files
    spelling = {int(key): key for key in training}
    return {spelling.get(int(key), key): members for key, members in files.items()}


def compare_classes(training: Files, other: Files, folder: Path) -> None:
    """Raises DataError for the first class that only one of two splits has; `folder` is the other split's."""
    for key in in_order({key: [] for key in training.keys() ^ other.keys()}):
        where, missing = ("training", folder.name) if key in training else (folder.name, "training")
        raise DataError(
            f"{folder.parent}: class {key!r} is in {where} but not in {missing} "
            f"({len(training)} classes in training, {len(other)} in {folder.name})"
        )
