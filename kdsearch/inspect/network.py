"""The layers of a trial's student or of a published network."""

from math import prod

import optuna

from kdsearch.config import Record
from kdsearch.errors import UsageError
from kdsearch.models.measure import Layer, layers_of
from kdsearch.models.published import PUBLISHED, PublishedConfig
from kdsearch.models.student import NetworkConfig, build_student, read_config
from kdsearch.store.facts import study_facts
from kdsearch.store.trials import Trials


class NetworkTable(Record):
    """A network's layers for one image, with sums."""

    name: str
    image_size: int
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def answer_bytes(self) -> int:
        """Of all layers' outputs for one image, in float32; training keeps about as much."""
        return 4 * sum(prod(layer.shape) for layer in self.layers)


def of_trial(study: optuna.Study, number: int) -> NetworkTable:
    """The student that a trial of the study trained. Raises UsageError if there is none."""
    trials = Trials.of(study)
    student = trials[number].facts.student if number < len(trials) else None
    if student is None:
        raise UsageError(f"study {study.study_name!r} has no trial {number} with a student")
    config = read_config(student.network)
    name = f"trial {number} of study {study.study_name}"
    return _table(name, config, study_facts(study).data.image_size)


def of_published(name: str, classes: int, image_size: int) -> NetworkTable:
    """A published network. Raises UsageError if it cannot read images of that size."""
    smallest = PUBLISHED[name].smallest
    if image_size < smallest:
        raise UsageError(
            f"{name} needs images of at least {smallest} x {smallest}; --image-size is {image_size}"
        )
    return _table(name, PublishedConfig(network=name, classes=classes), image_size)


def _table(name: str, config: NetworkConfig, image_size: int) -> NetworkTable:
    layers = tuple(layers_of(build_student(config), image_size))
    return NetworkTable(name=name, image_size=image_size, layers=layers)
