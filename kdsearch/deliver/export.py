"""Writes the winner in all its forms; loads each back and compares it before any is put in place."""

import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from kdsearch.cache import digest, entry, locked
from kdsearch.config import Record
from kdsearch.deliver.card import CardFacts, model_card
from kdsearch.deliver.onnx import export_onnx, run_onnx
from kdsearch.deliver.student_source import run_source, student_source
from kdsearch.errors import ExportError, UsageError
from kdsearch.files import check_writable
from kdsearch.models.measure import parameters_of
from kdsearch.models.student import Network, NetworkConfig, as_input, build_student
from kdsearch.models.weights import to_bytes

CONFIG = "config.json"  # by which an export is known
FORMS = ("README.md", CONFIG, "student.onnx", "student.py", "student.safetensors")
UNFINISHED = ".kdsearch-export."  # how the folders begin in which exports are made
TOLERANCE = 1e-4  # of the largest logit, and of 1 if all are smaller; float32 in another order is at 1e-6


class Preprocessing(Record):
    """How an image file becomes a network's input; all but the size is the same for every export."""

    size: int  # height and width
    resize: Literal["shorter side, bilinear, antialias"] = "shorter side, bilinear, antialias"
    crop: Literal["centre"] = "centre"
    channels: Literal[3] = 3
    gray: Literal["repeated"] = "repeated"
    range: tuple[Literal[0], Literal[1]] = (0, 1)
    normalisation: Literal["inside the network"] = "inside the network"


class ExportConfig(Record):
    """The content of `config.json`."""

    study: str
    trial: int
    classes: tuple[str, ...]
    parameters: int
    macs: int
    input: Preprocessing
    student: NetworkConfig


def export_student(
    config: NetworkConfig,
    state: dict[str, Tensor],
    facts: CardFacts,
    images: Tensor,
    out: Path,
    *,
    force: bool = False,
) -> list[Path]:
    """Writes all forms of a trained student to the folder `out`; returns their paths.

    `images` are real ones, uint8 N x C x H x W, on which each form must give the student's logits. `force`
    replaces the files of an earlier export and no others. Raises as `check_folder`, and ExportError if a form
    gives other logits or cannot be written; then nothing in `out` has changed.
    """
    assert facts.parameters == parameters_of(config), "the card must tell the truth"
    assert len(facts.classes) == config.classes, "each logit has a name"
    out = out.resolve()
    student = build_student(config)
    student.load_state_dict(state)
    student.eval()
    key = digest(str(out))
    with locked(entry("exports", key)):  # of this machine, one at a time into one folder
        check_folder(out, force=force)
        beside = out if out.is_dir() else out.parent  # the same file system, also where `out` is a mount
        try:
            beside.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(prefix=f"{UNFINISHED}{key}.", dir=beside) as temporary:
                folder = Path(temporary, "forms")
                folder.mkdir()  # TemporaryDirectory's own could be read by nobody else
                _write(student, config, facts, folder)
                check_export(folder, student, images)
                _put(folder, out)
        except (OSError, SafetensorError) as error:  # the latter has the system's reason in its text
            raise _unwritten(error, out) from error
        for unfinished in beside.glob(f"{UNFINISHED}{key}.*"):  # of processes that died: we hold the lock
            shutil.rmtree(unfinished, ignore_errors=True)
    return [out / name for name in FORMS]


def check_folder(out: Path, *, force: bool) -> None:
    """Raises UsageError if an export may not be written to `out`, as when it holds other files."""
    out = out.resolve()
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; --out names a folder")
    there = [path for path in out.iterdir() if not path.name.startswith(UNFINISHED)] if out.is_dir() else []
    if there and not force:
        raise UsageError(f"{out} is not empty; --force replaces an export there, --out names another folder")
    own = [path.name for path in there if path.name in FORMS]
    if own and not _is_export(out):
        raise UsageError(
            f"{out} holds {min(own)}, which no export of kdsearch wrote; --out names another folder"
        )
    nearest = next(folder for folder in (out, *out.parents) if folder.exists())
    check_writable(nearest, "let --out name another folder")


def _is_export(folder: Path) -> bool:
    """Whether kdsearch wrote the files, or died while it replaced them, see `_put`."""
    configs = [folder / CONFIG, *folder.glob(f"{UNFINISHED}*/{CONFIG}")]
    return any(map(_is_config, configs))


def _is_config(path: Path) -> bool:
    try:
        ExportConfig.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return False
    return True


def check_export(folder: Path, student: Network, images: Tensor) -> None:
    """Loads each form of an export back and compares its logits with the student's.

    `images` are uint8 N x C x H x W, the student is in eval mode and on the CPU. Raises ExportError, naming
    the form, if it cannot be loaded or its logits differ by more than TOLERANCE.
    """
    asked = as_input(images).contiguous()
    with torch.inference_mode():
        expected = student(asked)
    allowed = TOLERANCE * max(1.0, expected.abs().max().item())
    forms = {
        "config.json with student.safetensors": partial(_run_weights, folder),
        "student.onnx": partial(run_onnx, folder / "student.onnx"),
        "student.py with student.safetensors": partial(run_source, folder),
    }
    for form, run in forms.items():
        answer = run(asked)
        gap = (answer - expected).abs().max().item() if answer.shape == expected.shape else float("inf")
        if not gap <= allowed:  # so that NaN is an error too
            raise ExportError(
                f"{form}, loaded back, differs from the trained student by {gap:.2g} in a logit "
                f"(allowed: {allowed:.2g})"
            )


def _write(student: Network, config: NetworkConfig, facts: CardFacts, folder: Path) -> None:
    description = ExportConfig(
        study=facts.study,
        trial=facts.trial,
        classes=facts.classes,
        parameters=facts.parameters,
        macs=facts.macs,
        input=Preprocessing(size=facts.image_size),
        student=config,
    )
    (folder / "student.safetensors").write_bytes(to_bytes(student.state_dict()))
    (folder / "student.py").write_text(student_source(config), encoding="utf-8")
    (folder / CONFIG).write_text(description.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(facts), encoding="utf-8")
    export_onnx(student, facts.image_size, folder / "student.onnx")


def _run_weights(folder: Path, images: Tensor) -> Tensor:
    try:
        config = ExportConfig.model_validate_json((folder / CONFIG).read_bytes()).student
        student = build_student(config)
        student.load_state_dict(load_file(folder / "student.safetensors"))
    except (OSError, ValidationError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ExportError(f"config.json with student.safetensors does not load: {reason}") from error
    with torch.inference_mode():
        logits: Tensor = student.eval()(images)
    return logits


def _put(folder: Path, out: Path) -> None:
    """Moves the forms to their place: first removes the old configuration, last adds the new one.

    So an interrupted export has no configuration, and no program takes parts of two exports for one.
    """
    if not out.is_dir():
        folder.rename(out)
        return
    if (out / CONFIG).exists():
        (out / CONFIG).replace(folder.parent / CONFIG)
    for name in sorted(FORMS, key=lambda name: name == CONFIG):
        (folder / name).replace(out / name)


def _unwritten(error: OSError | SafetensorError, out: Path) -> ExportError:
    where = error.filename or out if isinstance(error, OSError) else out
    reason = error.strerror if isinstance(error, OSError) else error
    return ExportError(
        f"{where}: cannot be written ({reason}); free some disk, or let --out name another folder"
    )
