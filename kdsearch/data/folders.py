"""Images in folders: which split and class each file belongs to, by names alone."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kdsearch.errors import DataError

SPLITS = {
    "training": {"training", "train"},
    "validation": {"validation", "valid", "val"},
    "test": {"evaluation", "testing", "test"},
}
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
CLASS_ID = re.compile(r"0*(\d+)_.+")  # Food-11's 3_17.jpg is class 3

Files = dict[str, list[Path]]  # by class: a folder's name, or the number in CLASS_ID


class Layout(NamedTuple):
    """The folders of a data set's splits; without named ones the root itself is the training split."""

    root: Path
    training: Path
    validation: Path | None
    test: Path | None


def layout(root: Path) -> Layout:
    """Finds the splits by their folders' usual names. Raises DataError where only training is not there."""
    if not root.is_dir():
        raise DataError(f"--data {root}: no such folder")
    found = {
        split: folder
        for split, names in SPLITS.items()
        for folder in folders(root)
        if folder.name.lower() in names
    }
    if found and "training" not in found:
        other = next(iter(found.values()))
        raise DataError(f"{root}: has {other.name!r} but no folder named 'train' or 'training' beside it")
    return Layout(root, found.get("training", root), found.get("validation"), found.get("test"))


def folders(root: Path) -> list[Path]:
    """The visible folders in `root`, by name."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not hidden(path.relative_to(root)))


def images(folder: Path, *, deep: bool) -> list[Path]:
    """The visible image files in `folder`, by path."""
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(
        path for path in found if path.suffix.lower() in SUFFIXES and not hidden(path.relative_to(folder))
    )


def hidden(path: Path) -> bool:
    """What systems and archivers leave behind."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def listing(folder: Path) -> Files:
    """The files of one split by class: from its class folders, or where it has none from names CLASS_ID.jpg.

    Classes come in the order of their numbers, or of their names where one is not a number. Raises DataError
    for a folder without images, a class folder without images, and a file name that tells no class.
    """
    named = {path.name: images(path, deep=True) for path in folders(folder)}
    files = named or dict(by_number(images(folder, deep=False)))
    if not any(files.values()):
        raise DataError(
            f"{folder}: no images found; expected CLASS/*.jpg or CLASS_ID.jpg there, or in folders "
            "training, validation and evaluation (train, val, test) there"
        )
    for name, members in files.items():
        if not members:
            raise DataError(f"{folder / name}: class {name!r} has no images; add some, or remove the folder")
    order = sorted(files, key=int) if all(name.isdecimal() for name in files) else sorted(files)
    return {name: files[name] for name in order}


def by_number(paths: list[Path]) -> Iterator[tuple[str, list[Path]]]:
    """The classes in file names and their files."""
    groups: Files = {}
    for path in paths:
        match = CLASS_ID.fullmatch(path.stem)
        if match is None:
            raise DataError(f"{path}: its name tells no class, so it has no label; expected CLASS_ID.jpg")
        groups.setdefault(match[1], []).append(path)
    yield from groups.items()


def class_names(root: Path, keys: list[str]) -> tuple[str, ...]:
    """The classes' names: from lines `NUMBER<TAB>NAME` of `classes.txt` where there is one, else the keys.

    Raises DataError for a line of another form and for a class in it that has no images.
    """
    path = root / "classes.txt"
    if not path.is_file() or not all(key.isdecimal() for key in keys):
        return tuple(keys)
    names = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            key, tab, name = line.strip().partition("\t")
            if not tab or not key.isdecimal():
                raise DataError(
                    f"{path}, line {number}: expected NUMBER, a tab, NAME; found {line.strip()!r}"
                )
            names[str(int(key))] = name.strip()
    for key, name in names.items():
        if key not in keys:
            raise DataError(f"{path}: class {key} ({name}) has no images; add some, or remove the line")
    return tuple(names.get(key, key) for key in keys)


def compare_classes(training: Files, other: Files, folder: Path) -> None:
    """Raises DataError for the first class that only one of two splits has; `folder` is the other split's."""
    for key in sorted(training.keys() ^ other.keys()):
        where, missing = ("training", folder.name) if key in training else (folder.name, "training")
        raise DataError(
            f"{folder.parent}: class {key!r} is in {where} but not in {missing} "
            f"({len(training)} classes in training, {len(other)} in {folder.name})"
        )
