"""Logs the best student to MLflow, in a separate process: only this one loads both torch and MLflow."""

from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxscript  # noqa: F401  torch.onnx.export would load both, seconds long, when it is called
import optuna
import torch._dynamo  # noqa: F401

from kdsearch.deliver.card import card_facts, class_names
from kdsearch.deliver.forms import ExportConfig, describe
from kdsearch.deliver.onnx import export_onnx
from kdsearch.deliver.winner import Winner, find_winner
from kdsearch.mirror.model import CHAMPION, ModelFacts, delete_models, log_model, models_of, register
from kdsearch.mirror.uri import keep_model
from kdsearch.names import escaped
from kdsearch.run.child import child
from kdsearch.run.model_log import ModelRequest
from kdsearch.store.facts import study_facts
from kdsearch.store.identity import open_study, study_at
from kdsearch.store.record import StudyRecord
from kdsearch.store.storage import open_storage

NEEDED = ("numpy", "onnxruntime", "pandas", "pillow")  # by mirror/served.py; MLflow adds itself


def log_process(connection: Connection, place: ModelRequest) -> None:
    """The main function of that process; reports errors through the channel."""
    with child(connection) as (channel, _):
        uri, run_id, opened = place.uri, place.run_id, open_storage(place.storage)
        study, record = open_study(opened, place.study), StudyRecord(opened.engine, place.study)
        winner = find_winner(study, record, place.wanted)
        kept = models_of(uri, run_id)
        model = kept.uri or _logged(study, record, winner, uri, run_id)
        if not place.wanted.is_other:
            keep_model(study, winner.number, uri, model)
        if kept.stale:
            delete_models(uri, kept.stale)
            channel.say(f"the best model in MLflow was incomplete or of an older version: now it is {model}")
        if place.register:
            version = register(uri, model, place.register, _lineage(study, winner))
            channel.say(f"registered: {place.register}@{CHAMPION}, version {version} ({model})")


def _lineage(study: optuna.Study, winner: Winner) -> dict[str, str]:
    """The tags of a version in the registry: what it comes from, and how good it is."""
    facts, student = study_facts(study), winner.facts
    teachers = {name: facts.teachers[name] for name in student.teachers if facts.teachers}
    return {
        "study": study.study_name,
        "trial": str(winner.number),
        "validation_accuracy": f"{winner.accuracy:.6g}",
        "parameters": str(student.parameters),
        "macs": str(student.macs),
        "data": f"{facts.data.name} {facts.data.fingerprint}",
        **{f"teacher.{name}": f"{each.model} {each.fingerprint}" for name, each in teachers.items()},
        **student.provenance,
    }


def _logged(study: optuna.Study, record: StudyRecord, winner: Winner, uri: str, run_id: str) -> str:
    data = study_facts(study).data
    config = describe(winner.config, card_facts(study, winner, study_at(study, None), None, ()))
    facts = ModelFacts(
        description=_description(winner, config, data.validation),
        params={"input": _input(config), "classes": class_names(config.classes)},
        metadata=config.model_dump(mode="json", exclude={"student"}),
        last_epoch=record.epochs(winner.run)[-1].epoch,
        classes=config.classes,
        requirements=[f"{package}=={version(package)}" for package in NEEDED],
    )
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        export_onnx(winner.student(), config.input.size, folder / "student.onnx")
        config.write(folder)
        return log_model(uri, run_id, folder, facts)


def _description(winner: Winner, config: ExportConfig, images: int) -> str:
    """The beginning of the model card, for the model's page in MLflow."""
    chosen = f"the best of {len(winner.trials.finished):,}"
    if winner.finalist:
        chosen = f"the winning finalist, the median of its {len(winner.finalist.runs)} seeds"
    return (
        f"Trial {config.trial} of {escaped(config.study)}, {chosen}: "
        f"**{100 * winner.accuracy:.2f} %** of {images:,} validation images, "
        f"{config.parameters:,} parameters, {config.macs:,} multiply-adds an image.\n\n"
        f"Input: {_input(config)}.\n\n"
        "Answer: a table with `class`, its `probability`, and `p(NAME)` of each class.\n\n"
        f"Classes: {len(config.classes):,}: {escaped(class_names(config.classes))}.\n"
    )


def _input(config: ExportConfig) -> str:
    cropped = config.input.crop == "centre"
    return (
        "N x H x W x 3 or N x 3 x H x W (1 for gray), whole numbers in 0..255 or floats in 0..1, any size; "
        f"the model resizes {'the shorter side' if cropped else 'both sides'} to {config.input.size} pixels"
        f"{' and crops the centre' if cropped else ''}"
    )
