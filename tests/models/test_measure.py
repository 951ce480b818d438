import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kdsearch.models.families import FAMILIES
from kdsearch.models.measure import count_macs, count_parameters, layers_of, macs_of, parameters_of
from kdsearch.models.published import PublishedConfig
from kdsearch.models.student import build_student
from kdsearch.study.architecture import Architecture


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("downsampling", ["stride", "pool"])
def test_counts_are_those_of_the_built_network(config, family, downsampling):
    config = config.model_copy(update={"family": family, "options": {}, "downsampling": downsampling})
    student = build_student(config).eval()
    assert parameters_of(config) == sum(parameter.numel() for parameter in student.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        student(torch.zeros(1, 3, 16, 16))
    assert macs_of(config, 16) == counter.get_total_flops() // 2


def test_frozen_parameters_count_and_buffers_do_not():
    layer = nn.BatchNorm2d(7).requires_grad_(requires_grad=False)
    assert count_parameters(layer) == 14


def test_grouped_convolutions_count_one_group_for_each_channel():
    assert count_macs(nn.Conv2d(3, 6, 3, padding=1, groups=3), 8) == 8 * 8 * 6 * 9


def test_counting_draws_no_random_numbers(config):
    state = torch.random.get_rng_state()
    config = config.model_copy(update={"width": 9})
    parameters_of(config)
    macs_of(config, 16)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_counting_leaves_no_hook_behind(config):
    student = build_student(config)
    count_macs(student, 16)
    assert not any(layer._forward_hooks for layer in student.modules())


def test_the_layers_add_up_to_the_network():
    network = build_student(PublishedConfig(network="s0-first", classes=11))
    layers = layers_of(network, 96)
    assert sum(layer.parameters for layer in layers) == count_parameters(network) == 56_235
    assert sum(layer.macs for layer in layers) == count_macs(network, 96)


def test_a_layer_says_what_it_is_and_what_it_puts_out():
    network = build_student(PublishedConfig(network="s4", classes=10))
    layers = layers_of(network, 28)
    assert (layers[0].path, layers[0].kind, layers[0].shape) == ("stages.0.0", "Conv2d", (16, 28, 28))
    assert (layers[-1].path, layers[-1].kind, layers[-1].shape) == ("head", "Linear", (10,))
    assert [layer.path for layer in layers] == [
        path for path, module in network.named_modules() if not any(module.children())
    ]


def test_a_part_that_a_block_does_not_have_is_no_layer():
    config = Architecture(family="inverted", stages=1).student({"expansion": 1}, 5, 16)
    assert {"Sequential", "Identity"}.isdisjoint(layer.kind for layer in layers_of(build_student(config), 16))


def test_looking_at_a_network_leaves_its_weights_as_they_were():
    network = build_student(PublishedConfig(network="s4", classes=10))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    layers_of(network, 28)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
