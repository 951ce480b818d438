import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kdsearch.models.families import FAMILIES
from kdsearch.models.measure import count_macs, count_parameters, macs_of, parameters_of
from kdsearch.models.student import build_student


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
