"""The views of a study on this machine: their folder, and how they are made."""

from collections.abc import Callable, Mapping
from pathlib import Path

import optuna
import torch
from torch import Tensor

from kdsearch.cache import hold
from kdsearch.data.image_set import SearchSets
from kdsearch.device import has_bfloat16
from kdsearch.phases.bench import Prepared
from kdsearch.run.protocol import LATER_VIEWS, Channel
from kdsearch.run.protocol import Ready as ViewsReady
from kdsearch.store.facts import TeacherFacts, keep, study_facts
from kdsearch.study.file import Study
from kdsearch.study.teachers import label
from kdsearch.teachers.ready import Ready
from kdsearch.views.augment import Augmentation
from kdsearch.views.bank import Answering, ViewBank
from kdsearch.views.build import ViewBuilder, bank_folder
from kdsearch.views.mixing import mixing_of
from kdsearch.views.softness import outside, softness_line

BFLOAT16_LOSS = 0.005  # accuracy that a teacher may lose by it


def bank_of(
    study: Study, found: optuna.Study, sets: SearchSets, ready: Mapping[str, Ready], device: torch.device
) -> ViewBank:
    """The views of a study whose teachers are ready; the files may not exist yet."""
    facts = {name: each.facts for name, each in ready.items()}
    return ViewBank(
        folder=views_folder(study, sets.fingerprint, facts, device),
        count=study_facts(found).views,
        classes=len(sets.train.classes),
        teachers={
            name: Answering(
                embedding=each.network.shapes.embedding,
                hints=each.network.shapes.hints,
                image_size=study.teachers[name].image_size,
                bfloat16=answers_in_bfloat16(each.facts, device),
            )
            for name, each in ready.items()
        },
    )


def views_folder(
    study: Study, images: str, teachers: Mapping[str, TeacherFacts], device: torch.device
) -> Path:
    answers = {
        name: (facts.fingerprint, study.teachers[name].image_size, answers_in_bfloat16(facts, device))
        for name, facts in teachers.items()
    }
    return bank_folder(images, answers, study.augmentation.model_dump(), study.seed, device=device)


def answers_in_bfloat16(teacher: TeacherFacts, device: torch.device) -> bool:
    """Whether the teacher makes views so on this machine: if its CPU can, and accuracy allows."""
    known = teacher.bfloat16
    return known is not None and has_bfloat16(device) and known >= teacher.accuracy - BFLOAT16_LOSS


def builder_of(study: Study, sets: SearchSets, bank: ViewBank, ready: Mapping[str, Ready]) -> ViewBuilder:
    size = sets.train.image_size
    largest = max([size, *(each.image_size or size for each in bank.teachers.values())])
    augment = Augmentation(study.augmentation, largest)
    networks = {name: each.network for name, each in ready.items()}
    mixing = mixing_of(study.augmentation)
    return ViewBuilder(bank, sets.train.pixels, augment, networks, study.seed, size=size, mixing=mixing)


def make_views(
    builder: ViewBuilder, prepared: Prepared, channel: Channel, after_first: Callable[[], None]
) -> None:
    """Makes all views in order, or checks those that exist; workers can begin with the first."""
    prepared.bank.folder.mkdir(parents=True, exist_ok=True)
    hold(prepared.bank.folder)
    for number in range(prepared.bank.count):
        with channel.timed("first view" if number == 0 else LATER_VIEWS):
            builder.build(number, channel)
        if number == 0:
            channel.send(ViewsReady(prepared.model_dump(mode="json")))
            after_first()


def keep_softness(
    found: optuna.Study,
    bank: ViewBank,
    labels: Tensor,
    teachers: Mapping[str, TeacherFacts],
    channel: Channel,
) -> None:
    """Says, and keeps with the study, how much the teachers' outputs hold besides the labels."""
    shares = outside(bank.view(0), labels)
    if shares:
        keep(found, outside=shares)
    for name, share in shares.items():
        channel.say(softness_line(label(name, teachers[name].model), share))
