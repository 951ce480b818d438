"""The name of one try at one of a study's places."""

from typing import NamedTuple


class Slot(NamedTuple):
    """One of a study's places for a finished trial, and which try at filling it this is, both from 0.

    It names the checkpoint, the rows of the record, the MLflow run and all seeds.
    """

    place: int
    attempt: int

    @property
    def checkpoint(self) -> str:
        """The name of its checkpoint's file."""
        return f"slot-{self.place}-{self.attempt}.safetensors"
