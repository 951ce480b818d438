"""The terminal's output about a trial that was trained again."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kdsearch.cli.display import console, print_lines

if TYPE_CHECKING:
    from kdsearch.api import Replayed

WEIGHTS = {
    "stored": "Its weights are in the database again.",
    "there": "Its weights are in the database already.",
    "left": "No weights are stored: --keep wants a complete trial whose epochs are all equal.",
}


def show_replayed(replayed: "Replayed") -> None:
    """Prints whether the numbers are the same, and what is not as it was when the trial was trained."""
    print_lines(console(), *_lines(replayed))


def _lines(replayed: "Replayed") -> Iterator[str]:
    yield f"trial {replayed.trial}: {_found(replayed)}"
    for name, change in replayed.surroundings.items():
        yield f"This machine has {name} {change.now}, the trial was trained with {change.recorded}."
    if not (replayed.equal or replayed.surroundings):
        yield "Commit, versions, device and threads are the same; which CPU it was is not recorded."
    if replayed.weights:
        yield WEIGHTS[replayed.weights]


def _found(replayed: "Replayed") -> str:
    found = replayed.first_difference
    if found is None:
        return f"{replayed.compared} of {replayed.epochs} epochs bitwise equal"
    before = f"equal up to epoch {found.epoch - 1}; " if found.epoch else ""
    gap = ""
    if found.recorded is not None and found.replayed is not None:
        apart = found.replayed - found.recorded
        is_share = found.field == "val_accuracy"
        gap = f" ({100 * apart:+.2f} points)" if is_share else f" ({apart:+.3g})"
    numbers = f"{found.field} {found.replayed}, recorded {found.recorded}{gap}"
    return f"{before}epoch {found.epoch} differs: {numbers}"
