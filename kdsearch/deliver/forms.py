"""The forms of an export: writes them, and loads each back to compare it with the student."""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from kdsearch.deliver.card import CardFacts, model_card
from kdsearch.deliver.classes import MATRIX, draw_confusion
from kdsearch.deliver.described import CONFIG, Described, Preprocessing
from kdsearch.deliver.int8 import Quantised, Samples, export_int8
from kdsearch.deliver.latency import measured
from kdsearch.deliver.onnx import export_onnx, run_onnx
from kdsearch.deliver.onnx_runtime import INT8, ONNX, Answer
from kdsearch.deliver.program import PROGRAM, export_program, run_program
from kdsearch.deliver.student_source import run_source, student_source
from kdsearch.errors import ExportError
from kdsearch.models.measure import parameters_of
from kdsearch.models.student import Network, NetworkConfig, as_input, build_student
from kdsearch.models.weights import to_bytes

WEIGHTS = "student.safetensors"
SOURCE = "student.py"
FORMS = {
    "safetensors": (WEIGHTS,),
    "source": (SOURCE, WEIGHTS),
    "onnx": (ONNX,),
    "pt2": (PROGRAM,),
    "int8": (INT8,),
}
CARD = "README.md"
FILES = (CARD, CONFIG, MATRIX, INT8, ONNX, PROGRAM, SOURCE, WEIGHTS)  # all that an export may have
COMPARED = 64  # validation images on which each exported form must answer as the student does
TOLERANCE = 1e-4  # of the largest logit, and of 1 if all are smaller; float32 in another order is at 1e-6


class ExportConfig(Described):
    """The content of `config.json`."""

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


def write_forms(
    student: Network,
    config: NetworkConfig,
    facts: CardFacts,
    samples: Samples,
    folder: Path,
    *,
    forms: Collection[str],
) -> Quantised | None:
    """Writes some of FORMS of a trained student to the folder, with the card and `config.json`.

    Returns what 8 bits cost, if that form is among them. Raises as `check_export`.
    """
    files, size = {file for form in forms for file in FORMS[form]}, facts.data.image_size
    if WEIGHTS in files:
        (folder / WEIGHTS).write_bytes(to_bytes(student.state_dict()))
    if SOURCE in files:
        (folder / SOURCE).write_text(student_source(config), encoding="utf-8")
    if PROGRAM in files:
        export_program(student, size, folder / PROGRAM)
    describe(config, facts).write(folder)
    with TemporaryDirectory() as temporary:
        source = (folder if ONNX in files else Path(temporary)) / ONNX
        if {ONNX, INT8} & files:
            export_onnx(student, size, source)
        check_export(folder, student, samples.validation.images[:COMPARED], forms)
        quantised = export_int8(source, samples, folder / INT8) if INT8 in files else None
    if facts.confusion:
        draw_confusion(facts.confusion, facts.data.classes, facts.confusion_of, folder / MATRIX)
    latencies = measured(student, folder, size)
    (folder / CARD).write_text(model_card(facts, forms, latencies, quantised), encoding="utf-8")
    return quantised


def check_export(folder: Path, student: Network, images: Tensor, forms: Collection[str] = FORMS) -> None:
    """Loads each of these forms of an export back and compares its logits with the student's.

    Of `int8` the accuracy was compared when it was made.
    `images` are uint8 N x C x H x W, the student is in eval mode and on the CPU. Raises ExportError, naming
    the form, if it cannot be loaded or its logits differ by more than TOLERANCE.
    """
    asked = as_input(images).contiguous()
    with torch.inference_mode():
        expected = student(asked)
    allowed = TOLERANCE * max(1.0, expected.abs().max().item())
    runs = {
        "safetensors": ("config.json with student.safetensors", partial(_run_weights, folder)),
        "source": ("student.py with student.safetensors", partial(run_source, folder)),
        "onnx": (ONNX, partial(run_onnx, folder / ONNX)),
        "pt2": (PROGRAM, partial(run_program, folder / PROGRAM)),
    }
    for form, run in (runs[form] for form in forms if form in runs):
        answer = run(asked)
        gap = (answer - expected).abs().max().item() if answer.shape == expected.shape else float("inf")
        if not gap <= allowed:  # so that NaN is an error too
            raise ExportError(
                f"{form}, loaded back, differs from the trained student by {gap:.2g} in a logit "
                f"(allowed: {allowed:.2g})"
            )


def open_torch(folder: Path) -> Answer:
    """The network of `config.json` with `student.safetensors`, on the CPU. Raises ExportError."""
    try:
        config = ExportConfig.model_validate_json((folder / CONFIG).read_bytes()).student
        student = build_student(config)
        student.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, ValidationError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ExportError(f"config.json with student.safetensors does not load: {reason}") from error
    student.eval()

    def answer(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = student(torch.from_numpy(images)).numpy()
            return logits

    return answer


def _run_weights(folder: Path, images: Tensor) -> Tensor:
    return torch.from_numpy(open_torch(folder)(images.numpy()))
