"""How text reaches the terminal: never as markup, and with escapes for what would not be seen."""

from rich.console import Console
from rich.text import Text

from kdsearch.names import visible


def console(*, stderr: bool = False) -> Console:
    """Standard output, or standard error; nothing in a text is taken for colour, emoji or number."""
    return Console(stderr=stderr, highlight=False, emoji=False, markup=False)


def cell(text: str) -> Text:
    """A text from outside, for a table."""
    return Text(visible(text))


def print_lines(out: Console, *lines: str) -> None:
    """Prints each as one line, however long."""
    for line in lines:
        out.print(visible(line), markup=False, soft_wrap=True)
