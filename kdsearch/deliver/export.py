"""Exports the best student to a folder: all its forms, or none and nothing lost."""

import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna
import torch
from optuna.trial import TrialState
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor

from kdsearch.cache import digest, entry, locked
from kdsearch.config import Record
from kdsearch.data.image_set import SearchSets
from kdsearch.deliver.card import CardFacts, card_facts
from kdsearch.deliver.described import CONFIG
from kdsearch.deliver.forms import FILES, FORMS, ExportConfig, write_forms
from kdsearch.deliver.int8 import CALIBRATION, Quantised, Samples
from kdsearch.deliver.winner import Winner, find_winner, same_images, score_once
from kdsearch.engine.evaluate import confusion, named_right, named_right_mirrored
from kdsearch.engine.training import Labelled
from kdsearch.errors import ExportError, UsageError
from kdsearch.files import check_writable
from kdsearch.intervals import accuracy_interval
from kdsearch.mirror.uri import how_to_load
from kdsearch.models.measure import parameters_of
from kdsearch.models.student import NetworkConfig, build_student, student_outputs
from kdsearch.progress import Progress
from kdsearch.store.facts import study_facts
from kdsearch.store.final_test import FinalTest
from kdsearch.store.finalists import has_finalists
from kdsearch.store.identity import study_at
from kdsearch.store.record import StudyRecord
from kdsearch.store.studies import Found
from kdsearch.tables import Wanted

UNFINISHED = ".kdsearch-export."  # how the folders begin in which exports are made


class Exported(Record):
    study: str
    trial: int
    paths: tuple[Path, ...]
    int8_accuracy: float | None = None  # on the validation images
    parameters: int
    validation_accuracy: float
    validation_mirrored: float | None = None  # accuracy with mirrored views, as in `test`
    test: FinalTest | None
    notes: tuple[str, ...]
    loading: tuple[str, ...]  # Python that loads the model from MLflow, if it is there


def export_best(
    optuna_study: optuna.Study,
    record: StudyRecord,
    out: Path,
    progress: Progress,
    *,
    wanted: Wanted,
    force: bool,
    test: bool,
    data: str | None,
) -> Exported:
    """Exports what is wanted to the folder `out`.

    `test` reads the test split, once for each trial.
    """
    winner = find_winner(optuna_study, record, wanted)
    check_folder(out, force=force)  # before the test split is read
    study = study_at(optuna_study, data)
    sets = same_images(optuna_study, study, progress)
    notes = _search_notes(optuna_study, winner)
    found = Found(optuna_study, record)
    final, why = score_once(found, winner, study, sets, progress) if test else (None, "")
    facts = card_facts(optuna_study, winner, study, final, (*notes, why) if why else notes)
    facts = facts.model_copy(update=_of_validation(winner, sets, mirrored=study.augmentation.flip))
    chosen = torch.randperm(len(sets.train), generator=torch.Generator().manual_seed(0))[:CALIBRATION]
    validation = Labelled(sets.validation.images, sets.validation.labels)
    samples, forms = Samples(sets.train.images[chosen], validation), wanted.forms or FORMS
    paths, quantised = export_student(
        winner.config, winner.state, facts, samples, out, forms=forms, force=force
    )
    return Exported(
        study=study.name,
        trial=winner.number,
        paths=tuple(paths),
        int8_accuracy=quantised.accuracy if quantised else None,
        parameters=facts.parameters,
        validation_accuracy=facts.validation_accuracy,
        validation_mirrored=facts.validation_mirrored,
        test=final,
        notes=facts.notes,
        loading=() if wanted.is_other else how_to_load(optuna_study),
    )


def _of_validation(winner: Winner, sets: SearchSets, *, mirrored: bool) -> dict[str, Any]:
    """The card's facts that only the validation images know."""
    shown = winner.student(), student_outputs, sets.validation.images, sets.validation.labels
    rights = {"accuracy": np.array([named_right(*shown)])}
    if mirrored:
        rights["mirrored"] = np.array([named_right_mirrored(*shown)])
    return {
        "validation_mirrored": rights["mirrored"].mean() if mirrored else None,
        "validation_intervals": {name: accuracy_interval(bits)[1:] for name, bits in rights.items()},
        "validation_confusion": tuple(map(tuple, confusion(*shown).tolist())),
    }


def _search_notes(optuna_study: optuna.Study, winner: Winner) -> tuple[str, ...]:
    facts, trials = study_facts(optuna_study), winner.trials
    target, finished = facts.target, len(trials.finished)
    if winner.wanted.is_other:
        return ()
    if finished < target:
        state = "still running" if trials.in_state(TrialState.RUNNING) else "not finished"
        best = f"the best of {finished} of {target} trials so far"
        return (f"The search was {state} when this was exported: {best}.",)
    if has_finalists(facts) and winner.finalists is None:
        return (
            "The finalists were not trained when this was exported: the best trial of the search, "
            "with its one seed.",
        )
    return ()


def export_student(
    config: NetworkConfig,
    state: dict[str, Tensor],
    facts: CardFacts,
    samples: Samples,
    out: Path,
    *,
    forms: Collection[str] = FORMS,
    force: bool = False,
) -> tuple[list[Path], Quantised | None]:
    """Writes these forms of a trained student to the folder `out`; returns the paths, and what 8 bits cost.

    On some of the validation images each form must give the student's logits. `force` replaces the
    files of an earlier export and no others. Raises as `check_folder`, and ExportError if a form gives other
    logits or cannot be written; then nothing in `out` has changed.
    """
    assert facts.parameters == parameters_of(config), "the card must tell the truth"
    assert len(facts.data.classes) == config.classes, "each logit has a name"
    out = out.resolve()
    student = build_student(config)
    student.load_state_dict(state)
    student.eval()
    key = digest(str(out))
    with locked(entry("exports", key)):  # of this machine, one at a time into one folder
        check_folder(out, force=force)
        beside = out if out.is_dir() else out.parent  # the same file system, also if `out` is a mount
        try:
            beside.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(prefix=f"{UNFINISHED}{key}.", dir=beside) as temporary:
                folder = Path(temporary, "forms")
                folder.mkdir()  # TemporaryDirectory's own could be read by nobody else
                quantised = write_forms(student, config, facts, samples, folder, forms=forms)
                names = sorted(path.name for path in folder.iterdir())
                _put(folder, out)
        except (OSError, SafetensorError) as error:  # the latter has the system's reason in its text
            raise _unwritten(error, out) from error
        for unfinished in beside.glob(f"{UNFINISHED}{key}.*"):  # of processes that died: we hold the lock
            shutil.rmtree(unfinished, ignore_errors=True)
    return [out / name for name in names], quantised


def check_folder(out: Path, *, force: bool) -> None:
    """Raises UsageError if an export may not be written to `out`, as when it holds other files."""
    out = out.resolve()
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; --out names a folder")
    there = [path for path in out.iterdir() if not path.name.startswith(UNFINISHED)] if out.is_dir() else []
    if there and not force:
        raise UsageError(f"{out} is not empty; --force replaces an export there, --out names another folder")
    own = [path.name for path in there if path.name in FILES]
    if own and not _is_export(out):
        raise UsageError(
            f"{out} holds {min(own)}, which no export of kdsearch wrote; --out names another folder"
        )
    nearest = next(folder for folder in (out, *out.parents) if folder.exists())
    check_writable(nearest, "let --out name another folder")


def _is_export(folder: Path) -> bool:
    """Whether kdsearch wrote the files, or died while it replaced them, see `_put`."""
    for path in (folder / CONFIG, *folder.glob(f"{UNFINISHED}*/{CONFIG}")):
        with suppress(OSError, ValidationError):
            ExportConfig.model_validate_json(path.read_bytes())
            return True
    return False


def _put(folder: Path, out: Path) -> None:
    """Moves the files to their place: first removes an earlier export's, last adds the new configuration.

    So an interrupted export has no configuration, and no program takes parts of two exports for one.
    """
    if not out.is_dir():
        folder.rename(out)
        return
    for name in sorted(FILES, key=lambda name: name != CONFIG):
        if (out / name).exists():
            (out / name).replace(folder.parent / name)
    for path in sorted(folder.iterdir(), key=lambda path: path.name == CONFIG):
        path.replace(out / path.name)


def _unwritten(error: OSError | SafetensorError, out: Path) -> ExportError:
    where = error.filename or out if isinstance(error, OSError) else out
    reason = error.strerror if isinstance(error, OSError) else error
    return ExportError(
        f"{where}: cannot be written ({reason}); free some disk, or let --out name another folder"
    )
