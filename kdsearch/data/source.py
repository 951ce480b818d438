"""What every place that images come from can do."""

from typing import NamedTuple, Protocol

from kdsearch.data.image_set import ImageSet
from kdsearch.progress import Progress


class Parts(NamedTuple):
    """What a source gives to a search: its training split and, where it has one, its validation split."""

    train: ImageSet
    validation: ImageSet | None
    skipped: int = 0  # corrupt images
    note: str = ""


class Source(Protocol):
    """A place that images come from; reads nothing but names before it is asked."""

    def identity(self) -> object:
        """What changes when the images do: JSON-able, and found without opening them."""

    def search(self, progress: Progress) -> Parts:
        """The splits that a search may see; never opens a test image."""

    def test(self, progress: Progress) -> ImageSet:
        """The test split. Raises DataError where there is none, or none with labels."""

    def left_out(self) -> list[str]:
        """What the user may take for images of a search, and is none; found by names alone."""
        return []
