"""The common part of every family's options."""

from kdsearch.config import Record


class Options(Record):
    """The options of a block, all of whose channel counts are multiples of `multiple`."""

    @property
    def multiple(self) -> int:
        """1 if any number of channels will do."""
        return 1
