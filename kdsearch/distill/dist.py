"""Distillation of relations between classes and between images."""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cosine_similarity, softmax

from kdsearch.config import Range, Record
from kdsearch.distill.loss import Loss, scaled
from kdsearch.outputs import Outputs


class DIST(Loss):
    """Correlation of probabilities, arXiv 2205.10536 (2022), equations 9 to 11: `T^2 (inter I + intra J)`.

    I is one minus Pearson's correlation of an image's C probabilities with the teacher's, averaged over the B
    images; J the same of a class's B probabilities, averaged over the classes. Both lie in 0..2.
    """

    reads: ClassVar = frozenset({"logits"})

    class Config(Record):
        temperature: Annotated[float, Field(gt=0), Range(1, 8, log=True)] = 1.0
        inter: Annotated[float, Field(ge=0), Range(0.25, 8, log=True)] = 1.0
        intra: Annotated[float, Field(ge=0), Range(0.25, 8, log=True)] = 1.0
        standardise: bool = False

    config: Config

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> dict[str, Tensor]:
        ours, theirs = (
            softmax(scaled(answer.logits, self.config.temperature, self.config.standardise), dim=1)
            for answer in (student, teacher)
        )
        square = self.config.temperature**2
        return {
            "inter": self.config.inter * square * uncorrelated(ours, theirs),
            "intra": self.config.intra * square * uncorrelated(ours.T, theirs.T),
        }


def uncorrelated(ours: Tensor, theirs: Tensor) -> Tensor:
    """One minus Pearson's correlation of rows, averaged over them."""
    ours, theirs = (rows - rows.mean(1, keepdim=True) for rows in (ours, theirs))
    return 1 - cosine_similarity(ours, theirs, dim=1, eps=1e-8).mean()
