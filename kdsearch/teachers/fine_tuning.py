"""The training of a teacher, whose body may learn more slowly than its new head, and later."""

from typing import Any

from kdsearch.engine.training import Training
from kdsearch.epoch import EpochResult
from kdsearch.models.teachers import Teacher


class FineTuning(Training):
    """A Training in which the teacher's body has `body_rate` times the learning rate of its head.

    In the first `freeze_epochs` only the head trains; the body is in evaluation mode, so that its BatchNorm
    statistics stay.
    """

    network: Teacher

    def __init__(
        self, network: Teacher, *given: Any, body_rate: float, freeze_epochs: int, **named: Any
    ) -> None:
        self.body_rate, self.freeze_epochs = body_rate, freeze_epochs
        self.body = {id(parameter) for parameter in network.body}
        super().__init__(network, *given, **named)

    def _groups(self, rate: float) -> list[dict[str, Any]]:
        """The head's groups first: the record shows the rate of the first one."""
        groups = super()._groups(rate)
        if self.body_rate == 1:
            return groups
        parts = [self._part(group, rate, in_body) for in_body in (False, True) for group in groups]
        return [part for part in parts if part["params"]]

    def _part(self, group: Any, rate: float, in_body: bool) -> dict[str, Any]:
        chosen = [each for each in group["params"] if (id(each) in self.body) == in_body]
        return {**group, "params": chosen, "lr": rate * (self.body_rate if in_body else 1)}

    def _epoch(self) -> EpochResult:
        self.network.freeze_body(frozen=len(self.results) < self.freeze_epochs)
        return super()._epoch()
