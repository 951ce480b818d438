"""Distillation of the target class and of the others, apart."""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from kdsearch.config import Range, Record
from kdsearch.distill.loss import Loss, scaled
from kdsearch.outputs import Outputs


class DKD(Loss):
    """Decoupled distillation, arXiv 2203.08679 (2022), equation 7: `T^2 (target TCKD + others NCKD)`.

    TCKD is the KL divergence of (p_y, 1 - p_y), y the label; NCKD that of the C - 1 other classes'
    probabilities among themselves. Both are averaged over the B images, at least 0, and computed from
    log-probabilities.
    """

    reads: ClassVar = frozenset({"logits"})

    class Config(Record):
        """`target` and `others` are the paper's alpha and beta."""

        temperature: Annotated[float, Field(gt=0), Range(1, 20, log=True)] = 4.0
        target: Annotated[float, Field(ge=0), Range(0.25, 4, log=True)] = 1.0
        others: Annotated[float, Field(ge=0), Range(0.25, 8, log=True)] = 1.0
        standardise: bool = False

    config: Config

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> dict[str, Tensor]:
        of_student, of_teacher = self._parted(student.logits, labels), self._parted(teacher.logits, labels)
        tckd, nckd = (
            self.config.temperature**2 * kl_div(ours, theirs, reduction="batchmean", log_target=True)
            for ours, theirs in zip(of_student, of_teacher, strict=True)
        )
        return {"tckd": self.config.target * tckd, "nckd": self.config.others * nckd}

    def _parted(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities, B x 2 of target and all others, B x (C - 1) of the others among themselves."""
        logits = scaled(logits, self.config.temperature, self.config.standardise)
        target = labels.unsqueeze(1)
        columns = torch.arange(logits.shape[1] - 1, device=labels.device)
        # Not by a mask: a GPU would have to count it before the next operation could be launched.
        others = logits.gather(1, columns + (columns >= target))
        both = torch.cat([logits.gather(1, target), others.logsumexp(1, keepdim=True)], 1)
        return log_softmax(both, dim=1), log_softmax(others, dim=1)
