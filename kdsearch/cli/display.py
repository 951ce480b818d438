"""The terminal's output: texts and numbers as all displays print them.

A text is never taken for markup, and invisible characters in it are escaped.
"""

from datetime import timedelta

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


def loading_lines(loading: tuple[str, ...]) -> list[str]:
    """The lines of Python that load the best model, under a heading; none if MLflow does not have it."""
    return ["The best model in MLflow:", *(f"  {line}" for line in loading)] if loading else []


def percent(share: float) -> str:
    """A share from 0 to 1, in percent."""
    return f"{100 * share:.2f} %"


def span(bounds: tuple[float, float]) -> str:
    """Two shares from 0 to 1, in percent."""
    low, high = bounds
    return f"{100 * low:.1f} to {100 * high:.1f}"


def worth(images: int) -> str:
    """What one of so many validation images counts, as a sentence."""
    return f"One of the {images:,} validation images counts {100 / images:.2f} points."


def clock(seconds: float) -> str:
    """A time span as H:MM:SS."""
    return str(timedelta(seconds=round(seconds)))
