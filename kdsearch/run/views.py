"""The views of a study on this machine: their folder, and how they are made."""

from collections.abc import Mapping
from pathlib import Path

import optuna
import torch

from kdsearch.cache import hold
from kdsearch.data.image_set import SearchSets
from kdsearch.phases.bench import Prepared
from kdsearch.run.protocol import LATER_VIEWS, Channel
from kdsearch.run.protocol import Ready as ViewsReady
from kdsearch.store.facts import study_facts
from kdsearch.study.file import Study
from kdsearch.teachers.ready import Ready
from kdsearch.views.augment import Augmentation
from kdsearch.views.bank import Answering, ViewBank
from kdsearch.views.build import ViewBuilder, bank_folder
from kdsearch.views.mixing import mixing_of


def bank_of(
    study: Study, found: optuna.Study, sets: SearchSets, ready: Mapping[str, Ready], device: torch.device
) -> ViewBank:
    """The views of a study whose teachers are ready; the files may not exist yet."""
    prints = {name: each.facts.fingerprint for name, each in ready.items()}
    return ViewBank(
        folder=views_folder(study, sets.fingerprint, prints, device),
        count=study_facts(found).views,
        classes=len(sets.train.classes),
        teachers={
            name: Answering(
                embedding=each.network.shapes.embedding,
                hints=each.network.shapes.hints,
                image_size=study.teachers[name].image_size,
            )
            for name, each in ready.items()
        },
    )


def views_folder(study: Study, images: str, teachers: Mapping[str, str], device: torch.device) -> Path:
    sizes = {name: study.teachers[name].image_size for name in teachers}
    return bank_folder(images, teachers, sizes, study.augmentation.model_dump(), study.seed, device=device)


def builder_of(study: Study, sets: SearchSets, bank: ViewBank, ready: Mapping[str, Ready]) -> ViewBuilder:
    size = sets.train.image_size
    largest = max([size, *(each.image_size or size for each in bank.teachers.values())])
    augment = Augmentation(study.augmentation, largest)
    networks = {name: each.network for name, each in ready.items()}
    mixing = mixing_of(study.augmentation)
    return ViewBuilder(bank, sets.train.pixels, augment, networks, study.seed, size=size, mixing=mixing)


def make_views(builder: ViewBuilder, prepared: Prepared, channel: Channel) -> None:
    """Makes all views in order, or checks those that exist; workers can begin with the first."""
    prepared.bank.folder.mkdir(parents=True, exist_ok=True)
    hold(prepared.bank.folder)
    for number in range(prepared.bank.count):
        with channel.timed("first view" if number == 0 else LATER_VIEWS):
            builder.build(number, channel)
        if number == 0:
            channel.send(ViewsReady(prepared.model_dump(mode="json")))
