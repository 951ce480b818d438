"""The rules for names of studies, teachers and classes, and safe display of any text from outside.

A study's name is a folder, a row of two databases and an experiment of MLflow; a teacher's is part of file
names, parameters and metrics; a class's appears in JSON, Markdown and on the terminal.
"""

import re
import unicodedata
from collections.abc import Iterable
from difflib import SequenceMatcher

STUDY_BYTES = 240  # of 255 in a file's name and 250 in MLflow's columns; what is put around it fits in
TEACHER_LETTERS = 100  # of 250 in a metric's name, and of a file's 255
MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # of direction
HIDDEN = {"Cc", "Cs", "Zl", "Zp"}  # control characters, surrogates, line and paragraph separators
# What CommonMark and GitHub's tables, tags, links and mentions are made of. A backslash before it makes it
# a letter; _ is one within a word; full stops and colons matter only in a bare address, which GitHub links.
MARKUP = re.compile(r"[\\`*{}\[\]<>#!|~&@$^]|(?<![^\W_])_|_(?![^\W_])|(?<=www)\.|:(?=//)", re.IGNORECASE)


def study_name_fault(name: str) -> str | None:
    """The reason why no study can have this name, as the end of a sentence; None if it can."""
    if not name.strip() or name in (".", ".."):
        return "must not be empty, '.' or '..'"
    if hidden := [character for character in name if is_hidden(character)]:
        return f"must not hold the character {visible(hidden[0])}"
    if found := set(name) & set("/\\"):
        return f"must not hold {min(found)}, since it names a folder"
    if (size := len(name.encode())) > STUDY_BYTES:
        return f"must have at most {STUDY_BYTES} bytes in UTF-8, and has {size}"
    return None


def teacher_name_fault(name: str) -> str | None:
    """The same for a teacher's name."""
    if not (name.isascii() and name.replace("_", "a").isalnum()):
        return "a name has letters, digits and _ only"
    if len(name) > TEACHER_LETTERS:
        return f"a name has at most {TEACHER_LETTERS} letters, this one {len(name)}"
    return None


def class_names_fault(names: Iterable[str]) -> str | None:
    """The same for a data set's classes; control characters are allowed, and shown as escapes."""
    for name in names:
        if any(unicodedata.category(character) == "Cs" for character in name):
            return f"class '{visible(name)}' is not UTF-8, which no file of an export could hold; rename it"
    return None


def is_hidden(character: str) -> bool:
    """Whether the character moves the cursor, breaks a line or changes the writing direction."""
    return unicodedata.category(character) in HIDDEN or character in MARKS


def visible(text: str) -> str:
    """`text` with an escape such as `\\x1b` for each character that is not seen: one line, safe anywhere."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        each.encode("unicode_escape", "surrogatepass").decode("ascii") if is_hidden(each) else each
        for each in text
    )


def nearest_first(name: str, known: Iterable[str], most: int | None = None) -> str:
    """The `known` names in one line, the most similar to `name` first; at most `most` of them."""
    ordered = sorted(known, key=lambda other: -SequenceMatcher(None, name, other).ratio())
    return ", ".join(ordered[:most])


def escaped(text: str) -> str:
    """`text` as Markdown that renders as `text`, within one line; what is not seen is shown as an escape."""
    return MARKUP.sub(r"\\\g<0>", visible(text))
