"""The best trial of a study, as a trained student with all its facts."""

from datetime import UTC, datetime
from pathlib import Path

import optuna
from optuna.trial import TrialState

from kdsearch.config import Record
from kdsearch.data.image_set import ImageSet, SearchSets
from kdsearch.data.sources import load_search_sets, load_test_set
from kdsearch.data.split import count_copies
from kdsearch.deliver.best import Winner, find_winner
from kdsearch.deliver.card import CardFacts
from kdsearch.deliver.export import check_folder, export_student
from kdsearch.engine.evaluate import evaluate
from kdsearch.errors import DataError, NothingFinishedError
from kdsearch.mirror.uri import how_to_load
from kdsearch.models.student import Network, student_outputs
from kdsearch.progress import Progress
from kdsearch.store.facts import FinalTest, final_test, keep_final_test, study_facts
from kdsearch.store.identity import study_at
from kdsearch.store.record import StudyRecord
from kdsearch.store.trials import Trials
from kdsearch.study.file import Study
from kdsearch.study.teachers import label
from kdsearch.study.trial_config import TrialConfig
from kdsearch.tables import PublishedResult

COMPARED = 64  # validation images on which each exported form must answer as the student does


class Exported(Record):
    """The result of `export-best`."""

    study: str
    trial: int
    paths: tuple[Path, ...]
    parameters: int
    validation_accuracy: float
    test: FinalTest | None
    notes: tuple[str, ...]
    loading: tuple[str, ...]  # Python that loads the model from MLflow, where it is known to be there


class Trained(Record):
    """The result of `train`, and the published result."""

    parameters: int
    validation_accuracy: float
    test: FinalTest | None
    note: str  # why the test split was not read
    published: PublishedResult


def export_best(
    optuna_study: optuna.Study,
    record: StudyRecord,
    out: Path,
    progress: Progress,
    *,
    force: bool,
    test: bool,
    data: str | None,
) -> Exported:
    """Exports the best trial so far to the folder `out`; `test` reads the test split, once for each trial."""
    winner = find_winner(optuna_study, record)
    check_folder(out, force=force)  # before the test split is read
    study = study_at(optuna_study, data)
    sets = _same_images(optuna_study, study, progress)
    notes = _search_notes(optuna_study, winner.trials)
    final, why = _tested(optuna_study, winner, study, sets, progress) if test else (None, "")
    facts = _facts(optuna_study, winner, study, sets, final).model_copy(
        update={"notes": (*notes, *([why] if why else []))}
    )
    images = sets.validation.images[:COMPARED]
    paths = export_student(winner.config, winner.state, facts, images, out, force=force)
    return Exported(
        study=study.name,
        trial=winner.number,
        paths=tuple(paths),
        parameters=facts.parameters,
        validation_accuracy=facts.validation_accuracy,
        test=final,
        notes=facts.notes,
        loading=how_to_load(optuna_study),
    )


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
        final, why = _tested(
            optuna_study, winner, study, _same_images(optuna_study, study, progress), progress
        )
    return Trained(
        parameters=winner.facts.parameters,
        validation_accuracy=winner.accuracy,
        test=final,
        note=why,
        published=published,
    )


def _same_images(optuna_study: optuna.Study, study: Study, progress: Progress) -> SearchSets:
    """The study's images. Raises DataError if they have changed since the study was created."""
    sets = load_search_sets(study.data, study.seed, progress)
    if sets.fingerprint != study_facts(optuna_study).data.fingerprint:
        raise DataError(
            f"{study.data.name}: not the images that study {study.name!r} was created with; name "
            "their folder with --data"
        )
    return sets


def _search_notes(optuna_study: optuna.Study, trials: Trials) -> list[str]:
    target = study_facts(optuna_study).target
    finished, running = len(trials.finished), trials.in_state(TrialState.RUNNING)
    if finished >= target:
        return []
    state = "still running" if running else "not finished"
    return [
        f"The search was {state} when this was exported: the best of {finished} of {target} trials so far."
    ]


def _tested(
    optuna_study: optuna.Study, winner: Winner, study: Study, sets: SearchSets, progress: Progress
) -> tuple[FinalTest | None, str]:
    """The winner's score on the test images; the study keeps each score with its time."""
    if final := final_test(optuna_study, winner.number):
        return final, ""
    try:
        images = load_test_set(study.data, study.seed, progress)
    except DataError as error:
        return None, f"The test split was not read: {error}."
    final = _score(winner.student(), images, sets)
    keep_final_test(optuna_study, winner.number, final)
    return final, ""


def _score(student: Network, test: ImageSet, sets: SearchSets) -> FinalTest:
    score = evaluate(student, student_outputs, test.images, test.labels)
    return FinalTest(
        accuracy=score.accuracy,
        images=len(test),
        copies=count_copies(test, sets.train),
        read=datetime.now(UTC).date().isoformat(),
    )


def _facts(
    optuna_study: optuna.Study, winner: Winner, study: Study, sets: SearchSets, final: FinalTest | None
) -> CardFacts:
    trial, known = winner.facts, study_facts(optuna_study).teachers or {}
    names = TrialConfig.model_validate(trial.config).teachers
    teachers = {label(name, known[name].model): known[name].accuracy for name in names if name in known}
    return CardFacts(
        study=study.name,
        trial=winner.number,
        trials=len(winner.trials.finished),
        seed=study.seed,
        params=winner.params,
        max_params=study.max_params,
        parameters=trial.parameters,
        macs=trial.macs,
        data=study.data.name,
        fingerprint=sets.fingerprint,
        classes=sets.train.classes,
        image_size=sets.train.images.shape[-1],
        train_images=len(sets.train),
        validation_images=len(sets.validation),
        validation_accuracy=winner.accuracy,
        test=final,
        teachers=teachers,
        versions=dict(each.split("==") for each in (trial.versions or "").split()),
        commit=None if trial.commit == "unknown" else trial.commit,
    )
