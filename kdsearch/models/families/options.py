"""What every family's options have in common."""

from kdsearch.config import Record


class Options(Record):
    """The options of a block; every channel count that it meets is a multiple of `multiple`."""

    @property
    def multiple(self) -> int:
        """1 where any number of channels will do."""
        return 1
