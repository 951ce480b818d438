import math

import pytest
import torch
from torch import nn

from kdsearch.engine.optimizers import OPTIMIZERS, SCHEDULES, decayed_groups

PEAK = 0.1


def rates(name, steps, warmup):
    optimizer = OPTIMIZERS["sgd"]([nn.Parameter(torch.zeros(3))], lr=PEAK, weight_decay=0.0)
    schedule = SCHEDULES[name](optimizer, steps, warmup)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


@pytest.mark.parametrize(
    ("steps", "warmup"), [(1, 0.0), (1, 0.9), (2, 0.5), (10, 0.0), (10, 0.3), (40, 0.1), (7, 0.99)]
)
def test_cosine_rises_linearly_then_falls_as_half_a_cosine(steps, warmup):
    warm = min(round(warmup * steps), steps - 1)
    expected = [
        PEAK * (step + 1) / (warm + 1)
        if step < warm
        else PEAK * (1 + math.cos(math.pi * (step - warm) / (steps - warm))) / 2
        for step in range(steps)
    ]
    assert rates("cosine", steps, warmup) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("steps", "warmup"), [(1, 0.0), (2, 0.5), (10, 0.0), (10, 0.3), (40, 0.1), (7, 0.99)]
)
def test_one_cycle_goes_from_a_25th_to_the_peak_and_down_again(steps, warmup):
    top = max(warmup, 1 / steps) * (steps + 1) - 1  # the step, rarely whole, where it is highest

    def between(start, end, share):
        return end + (start - end) * (1 + math.cos(math.pi * share)) / 2

    expected = [
        between(PEAK / 25, PEAK, step / top)
        if step <= top
        else between(PEAK, PEAK / 25e4, (step - top) / (steps - top))
        for step in range(steps)
    ]
    assert rates("onecycle", steps, warmup) == pytest.approx(expected, rel=1e-9)


def test_a_constant_rate_is_constant_after_its_warm_up():
    assert rates("constant", 5, 0.0) == [PEAK] * 5
    assert rates("constant", 5, 0.4) == pytest.approx([PEAK / 3, 2 * PEAK / 3, PEAK, PEAK, PEAK])


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("steps", [1, 2, 3, 50])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 0.99])
def test_every_schedule_stays_within_zero_and_the_learning_rate(name, steps, warmup):
    seen = rates(name, steps, warmup)
    assert all(0 < rate <= PEAK * (1 + 1e-12) for rate in seen)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_an_optimizer_takes_the_step_of_its_formula(name):
    start = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    parameter = nn.Parameter(start.float())
    optimizer = OPTIMIZERS[name]([parameter], lr=0.1, weight_decay=0.01)
    expected, first, second = start.clone(), torch.zeros(3).double(), torch.zeros(3).double()
    for step in range(1, 4):
        optimizer.zero_grad()
        parameter.square().sum().backward()
        optimizer.step()
        gradient = 2 * expected + (0.01 * expected if name == "adam" else 0)
        if name == "sgd":
            gradient = gradient + 0.01 * expected
            first = 0.9 * first + gradient
            expected = expected - 0.1 * (gradient + 0.9 * first)
        else:
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
            shift = (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
            decay = 0.1 * 0.01 if name in ("adamw", "muon") else 0
            expected = expected * (1 - decay) - 0.1 * shift
    torch.testing.assert_close(parameter.detach().double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_muon_takes_orthogonal_steps_on_kernels_in_any_layout(layout):
    torch.manual_seed(0)
    start, slope = torch.randn(6, 4, 3, 3), torch.randn(6, 4, 3, 3)
    kernel = nn.Parameter(start.clone(memory_format=layout))
    optimizer = OPTIMIZERS["muon"]([kernel], lr=0.1, weight_decay=0.0)
    (kernel * slope).sum().backward()
    optimizer.step()
    step = (start - kernel.detach()).flatten(1) / (0.1 * 0.2 * 36**0.5)
    _, values, _ = torch.linalg.svd(step)
    assert values.min() > 0.5  # Newton-Schulz brings all singular values near to 1
    assert values.max() < 1.5
    u, _, v = torch.linalg.svd(slope.flatten(1), full_matrices=False)
    assert torch.nn.functional.cosine_similarity(step.flatten(), (u @ v).flatten(), dim=0) > 0.95


def test_muon_leaves_depthwise_kernels_and_matrices_to_adamw():
    torch.manual_seed(0)
    shapes = [(6, 1, 3, 3), (5, 6), (6,), (4, 6, 1, 1)]
    ours, theirs = ([nn.Parameter(torch.ones(shape)) for shape in shapes] for _ in range(2))
    slopes = [torch.randn(shape) for shape in shapes]
    muon, adamw = (
        OPTIMIZERS[name](p, lr=0.1, weight_decay=0.01) for name, p in [("muon", ours), ("adamw", theirs)]
    )
    for optimizer, parameters in ((muon, ours), (adamw, theirs)):
        for _ in range(2):
            optimizer.zero_grad()
            sum((each * slope).sum() for each, slope in zip(parameters, slopes, strict=True)).backward()
            optimizer.step()
    assert [torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)] == [True, True, True, False]


def test_learned_scales_are_not_decayed():
    scale, kernel = nn.Parameter(torch.ones(3, 1, 1)), nn.Parameter(torch.ones(3, 1, 3, 3))
    weights, others = decayed_groups([scale, kernel], decay_norms=False)
    assert weights["params"] == [kernel]
    assert others["params"] == [scale]
