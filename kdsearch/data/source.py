"""The interface of every source of images."""

from typing import NamedTuple, Protocol

from kdsearch.data.image_set import ImageSet
from kdsearch.progress import Progress


class Parts(NamedTuple):
    """A source's training split and, if it has one, its validation split."""

    train: ImageSet
    validation: ImageSet | None
    skipped: int = 0  # corrupt images
    note: str = ""


class Source(Protocol):
    """A source of images; it reads only names until a split is requested."""

    def identity(self) -> object:
        """A JSON-able value that changes with the images, computed without opening them."""

    def search(self, progress: Progress) -> Parts:
        """The splits that a search may see; never opens a test image."""

    def test(self, progress: Progress) -> ImageSet:
        """The test split. Raises DataError if there is none, or none with labels."""

    def left_out(self) -> list[str]:
        """Files that the user may take for images but the search does not read, judged by their names."""
        return []
