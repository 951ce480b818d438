"""The best trial of a study so far: its student, its weights, and its score on the test split."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

import optuna
from torch import Tensor

from kdsearch.config import Record
from kdsearch.data.image_set import SearchSets
from kdsearch.data.sources import load_search_sets, load_test_set
from kdsearch.data.split import count_copies
from kdsearch.engine.evaluate import evaluate
from kdsearch.errors import DataError, NothingFinishedError, StorageError
from kdsearch.models.student import Network, NetworkConfig, build_student, read_config, student_outputs
from kdsearch.models.weights import from_bytes
from kdsearch.progress import Progress
from kdsearch.store.facts import FinalTest, StudentFacts, final_test, keep_final_test, study_facts
from kdsearch.store.identity import study_at
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import Run
from kdsearch.store.trials import Trials
from kdsearch.study.file import Study
from kdsearch.tables import PublishedResult


class Winner(NamedTuple):
    """The best trial so far, and its weights."""

    number: int  # of its trial
    run: Run
    accuracy: float  # on the validation images, 0 to 1
    facts: StudentFacts
    params: dict[str, Any]  # that were sampled and have an effect
    config: NetworkConfig
    state: dict[str, Tensor]
    trials: Trials  # the study's when it was the best of them

    def student(self) -> Network:
        """The trained network, in evaluation mode."""
        student = build_student(self.config)
        student.load_state_dict(self.state)
        return student.eval()


def find_winner(study: optuna.Study, record: StudyRecord) -> Winner:
    """Raises NothingFinishedError before the first complete trial, StorageError if weights are gone."""
    trials = Trials.of(study)
    trial = trials.best
    if trial is None:
        raise NothingFinishedError(
            f"study {study.study_name!r} has no finished trial to export yet; 'kdsearch run' trains some"
        )
    facts, run = trial.facts.student, trial.run
    weights = record.file(run.weights) if run else None
    if weights is None or run is None or facts is None:
        raise StorageError(
            f"study {study.study_name!r}: the weights of trial {trial.number} are not in the database"
        )
    config, state = read_config(facts.network), from_bytes(weights)
    return Winner(trial.number, run, trial.accuracy, facts, trial.params, config, state, trials)


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
        final, why = score_once(
            optuna_study, winner, study, same_images(optuna_study, study, progress), progress
        )
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
    optuna_study: optuna.Study, winner: Winner, study: Study, sets: SearchSets, progress: Progress
) -> tuple[FinalTest | None, str]:
    """The winner's score on the test images, which the study keeps; or why these were not read."""
    if final := final_test(optuna_study, winner.number):
        return final, ""
    try:
        images = load_test_set(study.data, study.seed, progress)
    except DataError as error:
        return None, f"The test split was not read: {error}."
    score = evaluate(winner.student(), student_outputs, images.images, images.labels)
    final = FinalTest(
        accuracy=score.accuracy,
        images=len(images),
        copies=count_copies(images, sets.train),
        read=datetime.now(UTC).date().isoformat(),
    )
    keep_final_test(optuna_study, winner.number, final)
    return final, ""
