"""A study's trials at one moment, and every question that the house asks about them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from kdsearch.errors import SearchError
from kdsearch.store.facts import End, TrialFacts, trial_facts
from kdsearch.store.runs import Run

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
OPEN = (TrialState.WAITING, TrialState.RUNNING)
MAX_DEATHS = 3  # that a trial survives
IN_A_ROW = 5  # failures that end a search

Size = Literal["parameters", "macs"]  # of a student: what it holds, or what one image costs


@dataclass(frozen=True, eq=False)
class StudyTrial:
    """One trial: Optuna's, and the facts kept with it."""

    frozen: FrozenTrial
    facts: TrialFacts

    @classmethod
    def of(cls, frozen: FrozenTrial) -> "StudyTrial":
        return cls(frozen, trial_facts(frozen))

    @property
    def number(self) -> int:
        return self.frozen.number

    @property
    def state(self) -> TrialState:
        return self.frozen.state

    @property
    def run(self) -> Run | None:
        """What the trial is for."""
        return self.facts.run

    @property
    def params(self) -> dict[str, Any]:
        """The sampled parameters that its configuration depends on; all that are known before it has one."""
        student = self.facts.student
        if student is None or student.active is None:
            return dict(self.frozen.params)
        return {name: value for name, value in self.frozen.params.items() if name in student.active}

    @property
    def accuracy(self) -> float:
        """Of a complete trial, on the validation images at the last epoch, 0 to 1; else 0."""
        return (self.frozen.value or 0.0) if self.state == TrialState.COMPLETE else 0.0

    @property
    def epochs(self) -> int:
        """How many epochs a finished trial trained: those of its config, or those before it was stopped."""
        if self.state == TrialState.COMPLETE and self.facts.student:
            return self.facts.student.epochs
        last = self.frozen.last_step
        return 0 if last is None else last + 1

    @property
    def is_finished(self) -> bool:
        """Whether the trial counts: complete or pruned, at a place of the study."""
        return self.state in FINISHED and self.facts.slot is not None

    @property
    def is_complete(self) -> bool:
        """Whether the trial has a trained student that can be compared."""
        return self.state == TrialState.COMPLETE and self.facts.student is not None

    @property
    def has_died(self) -> bool:
        """Whether its worker died; a mark that the worker still made before it did so may say `diverged`."""
        return self.state == TrialState.FAIL and self.facts.mark in (None, End.LOST, End.DIVERGED)

    def size(self, by: Size) -> float:
        """Of its student; infinite before it has one."""
        size: float = getattr(self.facts.student, by, math.inf)
        return size

    @property
    def rank(self) -> tuple[float, float, float]:
        """Sorts the best first: accuracy, then the lower validation loss, then fewer parameters."""
        loss = self.facts.val_loss
        return -self.accuracy, math.inf if loss is None else loss, self.size("parameters")


class Trials:
    """All trials of a study by number, as they were when this was made."""

    def __init__(self, trials: Sequence[StudyTrial]) -> None:
        self._trials = trials

    @classmethod
    def of(cls, study: optuna.Study, before: "Trials | None" = None) -> "Trials":
        """The study's trials now; those that had ended in `before` are taken from there."""
        return cls([_known(frozen, before) for frozen in study.get_trials(deepcopy=False)])

    def __getitem__(self, number: int) -> StudyTrial:
        return self._trials[number]

    def __len__(self) -> int:
        return len(self._trials)

    def __iter__(self) -> Iterator[StudyTrial]:
        return iter(self._trials)

    def in_state(self, *states: TrialState) -> list[StudyTrial]:
        return [trial for trial in self if trial.state in states]

    @cached_property
    def finished(self) -> list[StudyTrial]:
        """Those that count towards the target."""
        return [trial for trial in self if trial.is_finished]

    @cached_property
    def ranked(self) -> list[StudyTrial]:
        """The complete ones, best first."""
        return sorted((trial for trial in self if trial.is_complete), key=lambda trial: trial.rank)

    @property
    def best(self) -> StudyTrial | None:
        return self.ranked[0] if self.ranked else None

    def smallest_first(self, by: Size) -> list[StudyTrial]:
        """The complete ones by size, the best of equally large ones first."""
        return sorted(self.ranked, key=lambda trial: trial.size(by))

    def front(self, by: Size) -> list[StudyTrial]:
        """The complete ones that no smaller or equally large one beats or equals, smallest first.

        Of equally large and equally accurate ones it has the one that ranks first.
        """
        front: list[StudyTrial] = []
        for trial in self.smallest_first(by):
            if not front or trial.accuracy > front[-1].accuracy:
                front.append(trial)
        return front

    @cached_property
    def failures(self) -> list[StudyTrial]:
        """Those that failed by an exception, or lost their workers once more than they are retried."""
        return [t for t in self if t.facts.mark == End.FAILED or self.died_too_often(t)]

    def of_place(self, place: int | None) -> list[StudyTrial]:
        """The trials of one of the study's places, by number."""
        return self._by_place.get(place, [])

    def places(self, target: int) -> set[int]:
        """The places that count: those that are finished, and the lowest others until they are `target`."""
        finished = {place for trial in self.finished if (place := trial.facts.slot) is not None}
        others = (place for place in count() if place not in finished)
        return finished | set(islice(others, max(0, target - len(finished))))

    def missing_places(self, target: int) -> list[int]:
        """The places that are neither finished nor running nor waiting, lowest first."""
        held = {trial.facts.slot for trial in self if trial.state != TrialState.FAIL}
        return sorted(self.places(target) - held)

    def died_too_often(self, trial: StudyTrial) -> bool:
        """Whether the trial died, and its run had died MAX_DEATHS times before."""
        if trial.run is None or not trial.has_died:
            return False
        before = [t for t in self.of_place(trial.facts.slot) if t.number < trial.number and t.has_died]
        return sum(other.run == trial.run for other in before) >= MAX_DEATHS

    def needs_new_attempt(self, trial: StudyTrial) -> bool:
        """Whether a failed trial failed by an exception, was refused, or has died too often."""
        refused = trial.facts.mark in (End.FAILED, End.DUPLICATE, End.SURPLUS)
        return refused or self.died_too_often(trial)

    @cached_property
    def _by_place(self) -> dict[int | None, list[StudyTrial]]:
        places: dict[int | None, list[StudyTrial]] = {}
        for trial in self:
            places.setdefault(trial.facts.slot, []).append(trial)
        return places


def _known(frozen: FrozenTrial, before: Trials | None) -> StudyTrial:
    """Optuna lets nobody change a trial that has ended."""
    if before is not None and frozen.number < len(before):
        known = before[frozen.number]
        if known.state.is_finished():
            return known
    return StudyTrial.of(frozen)


def check_failures(trials: Trials, since: int, target: int) -> None:
    """Raises SearchError if the trials numbered from `since` on failed too often, with the last reason.

    Five in a row, or more than 10 + a tenth of the target. Surplus, duplicate and interrupted trials are no
    failures, and a lost one is only when it has been lost too often.
    """
    failed = {trial.number: trial for trial in trials.failures if trial.number >= since}
    finished = [trial.number for trial in trials.finished if trial.number >= since]
    ended = sorted({*failed, *finished})
    in_a_row = len(ended) >= IN_A_ROW and all(number in failed for number in ended[-IN_A_ROW:])
    if in_a_row or len(failed) > 10 + target // 10:
        how = f"{IN_A_ROW} trials in a row" if in_a_row else f"{len(failed)} of {len(ended)} trials"
        reason = failed[max(failed)].facts.reason or f"lost its worker process {MAX_DEATHS + 1} times"
        raise SearchError(f"{how} failed; the last one: {reason}")
