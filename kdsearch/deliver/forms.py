"""The forms of an export: writes them, and loads each back to compare it with the student."""

from functools import partial
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from kdsearch.config import Record
from kdsearch.deliver.card import CardFacts, model_card
from kdsearch.deliver.onnx import export_onnx, run_onnx
from kdsearch.deliver.student_source import run_source, student_source
from kdsearch.errors import ExportError
from kdsearch.models.measure import parameters_of
from kdsearch.models.student import Network, NetworkConfig, as_input, build_student
from kdsearch.models.weights import to_bytes
from kdsearch.store.runs import SEARCH
from kdsearch.tables import Fit

CONFIG = "config.json"  # by which an export is known
FORMS = ("README.md", CONFIG, "student.onnx", "student.py", "student.safetensors")
TOLERANCE = 1e-4  # of the largest logit, and of 1 if all are smaller; float32 in another order is at 1e-6


class Preprocessing(Record):
    """How an image file becomes a network's input; the study says the size, and `resize` and `crop`."""

    size: int  # height and width
    resize: Literal["shorter side, bilinear, antialias", "both sides, bilinear, antialias"]
    crop: Literal["centre", "none"]
    channels: Literal[3] = 3
    gray: Literal["repeated"] = "repeated"
    range: tuple[Literal[0], Literal[1]] = (0, 1)
    normalisation: Literal["inside the network"] = "inside the network"

    @classmethod
    def of(cls, size: int, fit: Fit) -> "Preprocessing":
        if fit == "whole":
            return cls(size=size, resize="both sides, bilinear, antialias", crop="none")
        return cls(size=size, resize="shorter side, bilinear, antialias", crop="centre")


class ExportConfig(Record):
    """The content of `config.json`."""

    study: str
    trial: int
    phase: str = SEARCH  # in which the weights were trained
    seed: int | None = None  # of their initialisation and dropout
    classes: tuple[str, ...]
    parameters: int
    macs: int
    input: Preprocessing
    student: NetworkConfig

    def write(self, folder: Path) -> None:
        (folder / CONFIG).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def describe(config: NetworkConfig, facts: CardFacts) -> ExportConfig:
    """The student of a card, for programs."""
    return ExportConfig(
        study=facts.study,
        trial=facts.trial,
        phase=facts.phase,
        seed=facts.training_seed,
        classes=facts.data.classes,
        parameters=parameters_of(config),
        macs=facts.macs,
        input=Preprocessing.of(facts.data.image_size, facts.fit),
        student=config,
    )


def write_forms(student: Network, config: NetworkConfig, facts: CardFacts, folder: Path) -> None:
    """Writes all FORMS of a trained student to the folder."""
    (folder / "student.safetensors").write_bytes(to_bytes(student.state_dict()))
    (folder / "student.py").write_text(student_source(config), encoding="utf-8")
    describe(config, facts).write(folder)
    (folder / "README.md").write_text(model_card(facts), encoding="utf-8")
    export_onnx(student, facts.data.image_size, folder / "student.onnx")


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
