"""The best trial of a study so far: its student, its weights, and its score on the test split."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import optuna
from torch import Tensor

from kdsearch.config import Record
from kdsearch.data.image_set import SearchSets
from kdsearch.data.sources import load_search_sets, load_test_set
from kdsearch.data.split import count_copies
from kdsearch.engine.evaluate import confusion, named_right, named_right_mirrored
from kdsearch.errors import DataError, NothingFinishedError, StorageError, UsageError
from kdsearch.intervals import accuracy_interval
from kdsearch.models.student import Network, NetworkConfig, build_student, read_config, student_outputs
from kdsearch.models.weights import from_bytes
from kdsearch.progress import Progress
from kdsearch.store.facts import StudentFacts, final_test, keep_final_test, study_facts
from kdsearch.store.final_test import FinalTest
from kdsearch.store.finalists import Finalist, Finalists, decided
from kdsearch.store.identity import study_at
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import Run
from kdsearch.store.studies import Found
from kdsearch.store.trials import Trials
from kdsearch.study.file import Study
from kdsearch.tables import ANY, PublishedResult, Wanted


class Winner(NamedTuple):
    """The best trial so far, or the winning finalist, or the one that was chosen; and its weights."""

    number: int  # of its trial of the search
    run: Run
    accuracy: float  # on the validation images, 0 to 1
    facts: StudentFacts
    params: dict[str, Any]  # that were sampled and have an effect
    config: NetworkConfig
    state: dict[str, Tensor]
    trials: Trials  # the study's when it was the best of them
    finalists: Finalists | None = None  # among which it won, if they are trained
    wanted: Wanted = ANY

    @property
    def finalist(self) -> Finalist | None:
        """All its seeds; this one has the median accuracy of them."""
        return self.finalists.winner if self.finalists else None

    def student(self) -> Network:
        """The trained network, in evaluation mode."""
        student = build_student(self.config)
        student.load_state_dict(self.state)
        return student.eval()


def find_winner(study: optuna.Study, record: StudyRecord, wanted: Wanted = ANY) -> Winner:
    """The best finalist that is wanted, else the best trial of the search that is wanted.

    Raises UsageError if it admits no complete trial, NothingFinishedError before the first one, and
    StorageError if weights are gone.
    """
    trials, finalists = Trials.of(study), decided(study)

    def admits(number: int, student: StudentFacts) -> bool:
        return wanted.admits(number, student.parameters, student.macs)

    finalists = finalists.among(admits) if finalists else None
    admitted = (
        trial for trial in trials.ranked if trial.facts.student and admits(trial.number, trial.facts.student)
    )
    searched = trials[finalists.winner.trial] if finalists else next(admitted, None)
    if searched is None:
        raise _none_admitted(study, trials, wanted)
    trained = finalists.winner.median if finalists else searched
    facts, run = trained.facts.student, trained.run
    weights = record.file(run.weights) if run else None
    if weights is None or run is None or facts is None:
        raise _gone(study, searched.number)
    config, state, params = read_config(facts.network), from_bytes(weights), searched.params
    return Winner(
        searched.number, run, trained.accuracy, facts, params, config, state, trials, finalists, wanted
    )


def _none_admitted(study: optuna.Study, trials: Trials, wanted: Wanted) -> NothingFinishedError | UsageError:
    name = f"study {study.study_name!r}"
    if not trials.ranked:
        return NothingFinishedError(f"{name} has no finished trial to export yet; 'kdsearch run' trains some")
    if wanted.trial is None:
        students = [trial.facts.student for trial in trials.ranked if trial.facts.student]
        least = min(students, key=lambda student: (student.macs, student.parameters))
        if wanted.max_params is not None:
            least = min(students, key=lambda student: (student.parameters, student.macs))
        has = f"{least.parameters:,} parameters and {least.macs:,} multiply-adds"
        return UsageError(f"{name} has no complete trial with {wanted.limits}; the smallest has {has}")
    if wanted.trial >= len(trials):
        last = len(trials) - 1
        return UsageError(f"{name} has no trial {wanted.trial}: they are numbered from 0 to {last}")
    trial, called = trials[wanted.trial], f"{name}: trial {wanted.trial}"
    if not trial.is_complete:
        state = trial.state.name.lower()
        return UsageError(f"{called} is {state}; only a complete one has a trained student")
    return UsageError(f"{called} is larger: wanted are {wanted.limits}")


def _gone(study: optuna.Study, trial: int) -> StorageError:
    return StorageError(
        f"study {study.study_name!r}: the weights of trial {trial} are not in the database, which has those "
        f"of the best trials; 'kdsearch replay {trial} {study.study_name} --keep' trains it again"
    )


class Trained(Record):
    """The result of `train`, and the published result."""

    parameters: int
    validation_accuracy: float
    test: FinalTest | None
    note: str  # why the test split was not read
    published: PublishedResult


def judge_best(
    optuna_study: optuna.Study,
    record: StudyRecord,
    published: PublishedResult,
    progress: Progress,
    *,
    test: bool,
    data: str | None,
) -> Trained:
    """The best trial so far; `test` reads the test split, once for each trial.

    Raises NothingFinishedError if there is none: the only training diverged.
    """
    try:
        winner = find_winner(optuna_study, record)
    except NothingFinishedError:
        raise NothingFinishedError(
            f"study {optuna_study.study_name!r}: the training diverged; lower training.learning_rate, and "
            "give another --name or 'kdsearch delete' this one"
        ) from None
    study = study_at(optuna_study, data)
    final, why = None, ""
    if test:
        sets, found = same_images(optuna_study, study, progress), Found(optuna_study, record)
        final, why = score_once(found, winner, study, sets, progress)
    return Trained(
        parameters=winner.facts.parameters,
        validation_accuracy=winner.accuracy,
        test=final,
        note=why,
        published=published,
    )


def same_images(optuna_study: optuna.Study, study: Study, progress: Progress) -> SearchSets:
    """The study's images. Raises DataError if they have changed since the study was created."""
    sets = load_search_sets(study.data, study.seed, progress)
    if sets.fingerprint != study_facts(optuna_study).data.fingerprint:
        raise DataError(
            f"{study.data.name}: not the images that study {study.name!r} was created with; name "
            "their folder with --data"
        )
    return sets


def score_once(
    found: Found, winner: Winner, study: Study, sets: SearchSets, progress: Progress
) -> tuple[FinalTest | None, str]:
    """The winner's score on the test images, which the study keeps; or why these were not read.

    Of a finalist all seeds are scored at once.
    """
    delivered = winner.finalist.name if winner.finalist else winner.number
    if final := final_test(found.study, delivered):
        return final, ""
    try:
        images = load_test_set(study.data, study.seed, progress)
    except DataError as error:
        return None, f"The test split was not read: {error}."
    networks = [winner.student(), *(_seeds(found, winner.finalist) if winner.finalist else ())]
    shown = student_outputs, images.images, images.labels
    plain = np.array([named_right(network, *shown) for network in networks])
    flips = study.augmentation.flip
    mirrored = np.array([named_right_mirrored(each, *shown) for each in networks]) if flips else plain[:0]
    rights = {
        "accuracy": plain[:1],
        "mean": plain[1:],
        "mirrored": mirrored[:1],
        "mirrored_mean": mirrored[1:],
    }
    final = FinalTest(
        accuracy=plain[0].mean(),
        images=len(images),
        copies=count_copies(images, sets.train),
        read=datetime.now(UTC).date().isoformat(),
        seeds=tuple(plain[1:].mean(axis=1)),
        mirrored=mirrored[0].mean() if flips else None,
        mirrored_seeds=tuple(mirrored[1:].mean(axis=1)),
        intervals={name: accuracy_interval(bits)[1:] for name, bits in rights.items() if len(bits)},
        confusion=tuple(map(tuple, confusion(networks[0], *shown).tolist())),
    )
    keep_final_test(found.study, delivered, final)
    return final, ""


def _seeds(found: Found, finalist: Finalist) -> Iterator[Network]:
    """The networks of all seeds of a finalist, in evaluation mode."""
    for trained in finalist.runs:
        weights = found.record.file(trained.run.weights) if trained.run else None
        if weights is None:
            raise _gone(found.study, finalist.trial)
        network = build_student(read_config(finalist.student.network))
        network.load_state_dict(from_bytes(weights))
        yield network.eval()
