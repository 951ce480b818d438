import json

import pytest
import torch
from torch.nn.functional import cross_entropy

from kdsearch.engine.training import Training
from kdsearch.outputs import Outputs, Shapes
from kdsearch.study.architecture import Architecture
from kdsearch.study.trial_config import TrialConfig


@pytest.fixture
def config():
    def make(**changed):
        facts = {
            "student": Architecture().student({"kernel": 3}, classes=5, image_size=8),
            "loss": "kl",
            "losses": {"kl": {"temperature": 4.0}},
            "alpha": 0.5,
            "training": Training.Config(epochs=2),
        }
        return TrialConfig(**(facts | changed))

    return make


def test_equal_configs_have_equal_keys(config):
    assert config().key == config().key
    assert TrialConfig.model_validate(json.loads(config().model_dump_json())).key == config().key


@pytest.mark.parametrize(
    "changed",
    [
        {"loss": "ce", "losses": {}, "alpha": 0.0},
        {"losses": {"kl": {"temperature": 4.5}}},
        {"alpha": 0.25},
        {"training": Training.Config(epochs=3)},
        {"training": Training.Config(epochs=2, optimizer="sgd")},
        {"student": Architecture(stages=2).student({"kernel": 3}, classes=5, image_size=8)},
        {"student": Architecture().student({"kernel": 5}, classes=5, image_size=8)},
    ],
)
def test_another_training_has_another_key(config, changed):
    assert config(**changed).key != config().key


def test_a_depth_beyond_the_last_stage_changes_no_key(config):
    keys = {
        config(student=Architecture(stages=2, depth_3=deep).student({}, classes=5, image_size=8)).key
        for deep in (1, 2, 3)
    }
    assert len(keys) == 1


def test_label_smoothing_and_temperature_reach_the_objective(config):
    objective = config(training=Training.Config(label_smoothing=0.2)).objective(Shapes(5, 6, {}))
    assert objective.alpha == 0.5
    assert objective.losses[0].config.temperature == 4.0
    logits, labels = torch.randn(8, 5, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 5
    outputs = Outputs(logits, torch.zeros(8, 6), {})
    total, parts = objective(outputs, outputs, labels)
    assert parts["ce"] == cross_entropy(logits, labels, label_smoothing=0.2)
    assert total == 0.5 * parts["ce"]  # the teacher answers the same


def test_cross_entropy_alone_needs_no_teacher(config):
    objective = config(loss="ce", losses={}, alpha=0.0).objective(Shapes(5, 6, {}))
    assert objective.reads == frozenset()
