"""The name of one training that a study keeps something of."""

import re
from typing import NamedTuple

from kdsearch.config import Record

SEARCH = "search"  # the first phase
FINALISTS = "finalists"  # the second one
TEACHER = "teacher"  # of teachers' own trainings; the place is the teacher's among the study's


class Candidate(Record, extra="ignore"):
    """One training of a finalist: which trial of the search it repeats, and how."""

    trial: int  # its number
    epochs: int
    seed: int  # which of the finalist's seeds, from 0


class Run(NamedTuple):
    """One of a phase's places for a finished training, and which attempt at it this is, both from 0.

    It names the checkpoint, the weights, the rows of the record, the MLflow run and all seeds.
    """

    phase: str
    place: int
    attempt: int

    @property
    def words(self) -> tuple[str, ...]:
        """What all its names are made of: those of the search were there before other phases."""
        return (*(() if self.phase == SEARCH else (self.phase,)), str(self.place), str(self.attempt))

    @property
    def key(self) -> str:
        """Its name in MLflow: `0.1`."""
        return ".".join(self.words)

    @property
    def checkpoint(self) -> str:
        """The name of its checkpoint's file."""
        return f"slot-{'-'.join(self.words)}.safetensors"

    @property
    def weights(self) -> str:
        """The name of its weights' file in the record."""
        return f"weights-{'-'.join(self.words)}.safetensors"

    @property
    def correct(self) -> str:
        """The name of the record's file that says which validation images it names right."""
        return f"correct-{'-'.join(self.words)}.bits"

    def has_weights(self, name: str) -> bool:
        """Whether a file of the record has the weights of a run of this phase."""
        phase = "" if self.phase == SEARCH else re.escape(f"{self.phase}-")
        return re.fullmatch(rf"weights-{phase}\d+-\d+\.safetensors", name) is not None

    @property
    def seed_parts(self) -> tuple[str | int, ...]:
        """What makes its seeds differ from those of all other runs."""
        return ("trial" if self.phase == SEARCH else self.phase), self.place, self.attempt
