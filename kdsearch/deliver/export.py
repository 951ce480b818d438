"""The winner in all its forms, loaded back and compared before any of them is in its place."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from kdsearch.config import Record
from kdsearch.deliver.card import CardFacts, model_card
from kdsearch.deliver.onnx import export_onnx, run_onnx
from kdsearch.deliver.source import run_source, student_source
from kdsearch.errors import ExportError, UsageError
from kdsearch.models.count import parameters_of
from kdsearch.models.student import Network, NetworkConfig, as_input, build_student
from kdsearch.models.weights import to_bytes

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

    `images` are real ones, uint8 N x C x H x W, on which each form must answer as the student does. With
    `force` the files of an earlier export are replaced; what else lies there stays. Raises UsageError where
    `out` holds something and `force` is off, ExportError where a form answers otherwise; then nothing in
    `out` has changed.
    """
    assert facts.parameters == parameters_of(config), "the card must tell the truth"
    assert len(facts.classes) == config.classes, "each logit has a name"
    check_folder(out, force=force)
    out = out.resolve()
    student = build_student(config)
    student.load_state_dict(state)
    student.eval()
    beside = out if out.is_dir() else out.parent  # the same file system, also where `out` is a mount
    beside.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".kdsearch-export.", dir=beside) as temporary:
        folder = Path(temporary, "forms")
        folder.mkdir()  # TemporaryDirectory's own could be read by nobody else
        _write(student, config, facts, folder)
        check_export(folder, student, images)
        return _put(folder, out)


def check_folder(out: Path, *, force: bool) -> None:
    """Raises UsageError where an export may not be written to `out`."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; --out names a folder")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise UsageError(f"{out} is not empty; --force replaces an export there, --out names another folder")


def check_export(folder: Path, student: Network, images: Tensor) -> None:
    """Loads each form of an export back and compares its logits with the student's.

    `images` are uint8 N x C x H x W, the student is in eval mode and on the CPU. Raises ExportError, naming
    the form, where it cannot be loaded or its logits differ by more than TOLERANCE.
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
    (folder / "config.json").write_text(description.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(facts), encoding="utf-8")
    export_onnx(student, facts.image_size, folder / "student.onnx")


def _run_weights(folder: Path, images: Tensor) -> Tensor:
    try:
        config = ExportConfig.model_validate_json((folder / "config.json").read_bytes()).student
        student = build_student(config)
        student.load_state_dict(load_file(folder / "student.safetensors"))
    except (OSError, ValidationError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ExportError(f"config.json with student.safetensors does not load: {reason}") from error
    with torch.inference_mode():
        logits: Tensor = student.eval()(images)
    return logits


def _put(folder: Path, out: Path) -> list[Path]:
    names = sorted(path.name for path in folder.iterdir())
    if out.is_dir():
        for name in names:
            (folder / name).replace(out / name)
    else:
        folder.rename(out)
    return [out / name for name in names]
