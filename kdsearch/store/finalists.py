"""The finalists of a study: which are to be trained, what their trainings say, and which one wins."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import cast

import numpy as np
import optuna
from numpy.typing import NDArray

from kdsearch.intervals import Interval, accuracy_interval, difference_interval
from kdsearch.store.facts import StudentFacts, StudyFacts, keep, study_facts
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import FINALISTS, Candidate, Run
from kdsearch.store.storage import StudyStorage
from kdsearch.store.studies import phase_of
from kdsearch.store.trials import StudyTrial, Trials
from kdsearch.tables import FinalistsConfig


def candidates(facts: StudyFacts, search: Trials) -> tuple[Candidate, ...]:
    """The trainings of a study's finalists by place: those that were wanted before, then those that lack.

    `search` are the trials of the search. Nothing was wanted and nothing is if the study has no finalists.
    """
    config, kept = facts.finalists, facts.candidates
    if not has_finalists(facts) or config is None:
        return ()
    best = [(trial.number, trial.facts.student) for trial in search.ranked[: config.count]]
    wanted = [
        Candidate(trial=number, epochs=config.epochs or student.epochs, seed=seed)
        for seed in range(config.seeds)  # each finalist has one seed before any has two
        for number, student in best
        if student
    ]
    return kept + tuple(each for each in wanted if each not in kept)


def has_finalists(facts: StudyFacts) -> bool:
    return facts.finalists is not None and facts.finalists.count > 0


def keep_candidates(search: optuna.Study, trials: Trials) -> tuple[Candidate, ...]:
    """`candidates`, from now on the same ones whatever else the search finds."""
    facts = study_facts(search)
    wanted = candidates(facts, trials)
    if wanted != facts.candidates:
        keep(search, candidates=wanted)
    return wanted


def pack(correct: Sequence[bool]) -> bytes:
    """The bits of a training's file: whether it names each validation image's class."""
    return np.packbits(np.array(correct, dtype=np.bool_)).tobytes()


@dataclass(frozen=True, eq=False)
class Finalist:
    """A trial of the search, trained again with several seeds."""

    trial: int
    epochs: int
    runs: tuple[StudyTrial, ...]  # complete trainings, by seed
    correct: NDArray[np.bool_]  # seeds x validation images

    @property
    def name(self) -> str:
        """What its score on the test images is kept under."""
        return f"finalist {self.trial} {self.epochs} {len(self.runs)}"

    @property
    def student(self) -> StudentFacts:
        facts = self.runs[0].facts.student
        assert facts is not None, "a complete training has a student"
        return facts

    @property
    def mean(self) -> float:
        """Validation accuracy, 0 to 1."""
        return fmean(run.accuracy for run in self.runs)

    @property
    def deviation(self) -> float | None:
        """The standard deviation of its seeds; None for a single one."""
        return stdev(run.accuracy for run in self.runs) if len(self.runs) > 1 else None

    @cached_property
    def interval(self) -> Interval:
        return accuracy_interval(self.correct)

    @property
    def median(self) -> StudyTrial:
        """The training with the median accuracy; of an even number the lower one, so never the best."""
        ordered = sorted(self.runs, key=lambda run: (run.accuracy, run.number))
        return ordered[(len(ordered) - 1) // 2]

    @property
    def rank(self) -> tuple[float, float, int]:
        """Sorts the best first, as `StudyTrial.rank`."""
        losses = (run.facts.val_loss for run in self.runs)
        return (
            -self.mean,
            fmean(math.inf if loss is None else loss for loss in losses),
            self.student.parameters,
        )


class Finalists:
    """All finalists of a study, best mean first; `is_complete` once each has all its trainings."""

    def __init__(self, config: FinalistsConfig, finalists: Sequence[Finalist], *, is_complete: bool) -> None:
        self.config, self.is_complete = config, is_complete
        self.ranked = sorted(finalists, key=lambda finalist: finalist.rank)

    def among(self, admits: Callable[[int, StudentFacts], bool]) -> "Finalists | None":
        """Those whose trial and student are admitted; None if there are none."""
        some = [each for each in self.ranked if admits(each.trial, each.student)]
        return Finalists(self.config, some, is_complete=self.is_complete) if some else None

    @cached_property
    def behind(self) -> dict[tuple[int, int], Interval]:
        """By how much the best is more accurate than each of the others, by trial and epochs."""
        best, *others = self.ranked
        return {
            (other.trial, other.epochs): difference_interval(best.correct, other.correct) for other in others
        }

    @cached_property
    def equal(self) -> list[Finalist]:
        """The best, and those that cannot be told apart from it."""
        apart = {key for key, interval in self.behind.items() if not interval.holds_zero}
        return [each for each in self.ranked if (each.trial, each.epochs) not in apart]

    @property
    def winner(self) -> Finalist:
        """The best mean, or the smallest that cannot be told apart from it, as the study prefers."""
        if self.config.prefer == "small":
            return min(self.equal, key=lambda finalist: (finalist.student.parameters, finalist.rank))
        return self.ranked[0]


def finalists_of(study: optuna.Study) -> Finalists | None:
    """The study's finalists so far; None if it has none, or none that is trained."""
    facts = study_facts(study)
    own = phase_of(study, FINALISTS) if has_finalists(facts) else None
    if own is None or facts.finalists is None:
        return None
    groups: dict[tuple[int, int], list[StudyTrial]] = {}
    trials = Trials.of(own)
    for trial in trials:
        if trial.is_complete and (which := trial.facts.candidate):
            groups.setdefault((which.trial, which.epochs), []).append(trial)
    record = StudyRecord(cast(StudyStorage, study._storage).engine, study.study_name, reading=True)
    made = [_finalist(*key, runs, record, facts.data.validation) for key, runs in groups.items()]
    done = sum(len(runs) for runs in groups.values())
    is_complete = done >= len(facts.candidates) > 0
    return Finalists(facts.finalists, made, is_complete=is_complete) if made else None


def trainings_of(study: optuna.Study, before: Trials | None = None) -> Trials:
    """All trainings of the study's finalists; `before` are they at some earlier moment."""
    own = phase_of(study, FINALISTS) if study_facts(study).candidates else None
    return Trials.of(own, before) if own else Trials([])


def decided(study: optuna.Study) -> Finalists | None:
    """The study's finalists if they are all trained, so that one of them wins."""
    finalists = finalists_of(study)
    return finalists if finalists and finalists.is_complete else None


def winning_run(study: optuna.Study, trials: Trials) -> Run | None:
    """The training whose student is delivered: of a finalist, else of the best of the search's `trials`."""
    if finalists := decided(study):
        return finalists.winner.median.run
    return trials.best.run if trials.best else None


def _finalist(trial: int, epochs: int, runs: list[StudyTrial], record: StudyRecord, images: int) -> Finalist:
    ordered = tuple(sorted(runs, key=_seed))
    bits = [_bits(record, each, images) for each in ordered]
    return Finalist(trial, epochs, ordered, np.stack(bits))


def _seed(trial: StudyTrial) -> int:
    assert trial.facts.candidate is not None, "all of a finalist's trainings are"
    return trial.facts.candidate.seed


def _bits(record: StudyRecord, trial: StudyTrial, images: int) -> NDArray[np.bool_]:
    content = record.file(trial.run.correct) if trial.run else None
    packed = np.frombuffer(content or bytes(-(-images // 8)), dtype=np.uint8)
    return np.unpackbits(packed, count=images).astype(np.bool_)
