"""What every distillation loss promises, by being in the dict."""

import pytest
import torch
from torch import nn

from kdsearch.config import Choices, Range, default_search
from kdsearch.distill import LOSSES
from kdsearch.outputs import Outputs, Shapes

CLASSES, WIDTH, IMAGES = 7, 12, 6
SHAPES = Shapes(CLASSES, WIDTH, {"stage1": (4,)})
LABELS = torch.arange(IMAGES) % CLASSES


def outputs(seed, dtype=torch.float32):
    drawn = torch.Generator().manual_seed(seed)
    sizes = ((IMAGES, CLASSES), (IMAGES, WIDTH), (IMAGES, 4, 5, 5))
    logits, embedding, hint = (torch.randn(size, generator=drawn).to(dtype) for size in sizes)
    return Outputs(logits, embedding, {"stage1": hint})


@pytest.fixture(params=sorted(LOSSES))
def loss(request):
    made = LOSSES[request.param]
    return made(made.Config(), SHAPES, SHAPES)


def total(loss, student, teacher):
    return sum(loss(student, teacher, LABELS).values())


def test_parts_are_finite_float32_scalars_from_any_precision(loss):
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        parts = loss(outputs(1, dtype), outputs(2, torch.float16), LABELS)
        assert parts
        for part in parts.values():
            assert (part.dtype, part.shape, bool(part.isfinite())) == (torch.float32, (), True)


def test_half_precision_is_raised_before_anything_is_computed(loss):
    half = outputs(1, torch.bfloat16)
    raised = Outputs(
        half.logits.float(), half.embedding.float(), {k: v.float() for k, v in half.hints.items()}
    )
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(half, outputs(2), LABELS) == loss(raised, outputs(2), LABELS)


def test_it_reads_nothing_else_of_the_teacher(loss):
    assert loss.reads <= set(Outputs._fields)
    empty = Outputs(torch.empty(0), torch.empty(0), {})
    teacher = empty._replace(**{name: getattr(outputs(2), name) for name in loss.reads})
    assert loss(outputs(1), teacher, LABELS) == loss(outputs(1), outputs(2), LABELS)


def test_it_is_nothing_for_a_student_that_answers_as_its_teacher_and_more_for_any_other(loss):
    for regressor in loss.children():
        nn.init.dirac_(regressor.weight)
        nn.init.zeros_(regressor.bias)
    assert abs(total(loss, outputs(1), outputs(1))) < 1e-5
    assert total(loss, outputs(1), outputs(2)) > 1e-3


def test_the_order_of_the_images_does_not_matter(loss):
    def reversed_(given):
        return Outputs(
            given.logits.flip(0), given.embedding.flip(0), {k: v.flip(0) for k, v in given.hints.items()}
        )

    turned = loss(reversed_(outputs(1)), reversed_(outputs(2)), LABELS.flip(0))
    for name, part in loss(outputs(1), outputs(2), LABELS).items():
        torch.testing.assert_close(turned[name], part)


def test_a_gradient_reaches_the_student(loss):
    student = outputs(1)
    for tensor in (student.logits, student.embedding, student.hints["stage1"]):
        tensor.requires_grad_()
    total(loss, student, outputs(2)).backward()
    grads = [tensor.grad for tensor in (student.logits, student.embedding, student.hints["stage1"])]
    assert any(grad is not None and grad.isfinite().all() and grad.any() for grad in grads)


def test_its_default_lies_within_what_is_searched(loss):
    for name, field in type(loss).Config.model_fields.items():
        value, search = getattr(type(loss).Config(), name), default_search(field)
        if isinstance(search, Range):
            assert search.low <= value <= search.high
        if isinstance(search, Choices):
            assert value in search.values
