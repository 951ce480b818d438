"""The names of the classes, if a file gives them."""

import os
from pathlib import Path

from kdsearch.data.folders import numbered
from kdsearch.data.passed_over import NAMES, PassedOver
from kdsearch.errors import DataError
from kdsearch.files import read_text

FILE = "classes.txt"
DIGITS = 18  # more are no class's number


def class_names(root: Path, keys: list[str]) -> tuple[str, ...]:
    """The classes' names: from lines `NUMBER<TAB>NAME` of `classes.txt` if there is one, else the keys.

    Raises DataError for a file that is not text in UTF-8, a line of another form, a class in it without
    images or with two lines, and two classes with one name.
    """
    path = root / FILE
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
    path = root / FILE
    return [PassedOver(path, NAMES)] if os.path.lexists(path) and not numbered(keys) else []
