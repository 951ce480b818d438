"""Printing text safely: never as markup, and with escapes for invisible characters."""

from rich.console import Console
from rich.text import Text

from kdsearch.names import visible


def console(*, stderr: bool = False) -> Console:
    """A console on standard output or standard error that adds no colour or emoji to a text."""
    return Console(stderr=stderr, highlight=False, emoji=False, markup=False)


def cell(text: str) -> Text:
    """A text from outside, for a table."""
    return Text(visible(text))


def print_lines(out: Console, *lines: str) -> None:
    """Prints each text as one line, however long it is."""
    for line in lines:
        out.print(visible(line), markup=False, soft_wrap=True)
