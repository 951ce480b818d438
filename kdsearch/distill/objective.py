"""The function that a student minimises: labels and teacher, weighted by alpha."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from kdsearch.distill.loss import Loss
from kdsearch.outputs import Mixed, Outputs


class Objective(nn.Module):
    """`(1 - alpha) CE(student, labels) + alpha (sum of the losses)`: alpha always weighs the teacher.

    Without losses it is the cross entropy alone, and alpha must be 0. All in float32, whatever comes in; no
    gradient reaches the teacher. If it is `falling`, alpha is multiplied by `1 - progress^2`, where progress
    is the share of the training that is done. Raises ValueError if alpha lies outside 0..1 or has nothing to
    weigh.
    """

    def __init__(
        self, losses: Sequence[Loss], alpha: float, label_smoothing: float = 0.0, *, falling: bool = False
    ) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha lies in 0..1, not {alpha}")
        if alpha > 0 and not losses:
            raise ValueError(f"alpha = {alpha} weighs no loss; without losses it is 0")
        self.losses = nn.ModuleList(losses)
        # The fields of the teacher's Outputs that are looked at; empty: no teacher is needed.
        self.reads = frozenset[str]().union(*(loss.reads for loss in losses))
        self.alpha, self.falling = alpha, falling
        self.progress = 0.0  # the training sets it, 0 to 1
        self.label_smoothing = label_smoothing

    def forward(
        self, student: Outputs, teacher: Outputs | None, labels: Tensor, mixed: Mixed | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The total, and its parts without alpha, detached: `ce`, then what the losses name.

        The cross entropy of a mixed image is that of its two labels, by their weights. The teacher saw the
        mixed image; losses that read labels see the one that weighs more.
        """
        ce = self._cross_entropy(student.logits.float(), labels, mixed)
        if not self.losses:
            return ce, {"ce": ce.detach()}
        assert teacher is not None, "losses without a teacher"
        hints = {name: hint.detach() for name, hint in teacher.hints.items()}
        still = Outputs(teacher.logits.detach(), teacher.embedding.detach(), hints)
        with torch.autocast(labels.device.type, enabled=False):
            parts = [part for loss in self.losses for part in loss(student, still, labels).items()]
        alpha = self.alpha * (1 - self.progress**2) if self.falling else self.alpha
        total = (1 - alpha) * ce + alpha * sum(part for _, part in parts)
        return total, {"ce": ce.detach()} | {name: part.detach() for name, part in parts}

    def _cross_entropy(self, logits: Tensor, labels: Tensor, mixed: Mixed | None) -> Tensor:
        if mixed is None:
            return cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        own, other = (
            cross_entropy(logits, each, label_smoothing=self.label_smoothing, reduction="none")
            for each in (labels, mixed.labels)
        )
        return torch.lerp(other, own, mixed.weight).mean()
