import numpy as np
import pytest
import torch

from kdsearch.distill import LOSSES
from kdsearch.distill.kl import KL
from kdsearch.distill.objective import Objective
from kdsearch.outputs import Mixed, Outputs, Shapes

SHAPES = Shapes(7, 3, {"stage1": (2, 4, 4)})
LABELS = torch.tensor([0, 3, 6, 3, 1])
DRAWN = np.random.default_rng(1).normal(0, 2, (2, 5, 7))


def answers(logits):
    return Outputs(
        torch.tensor(logits, dtype=torch.float32),
        torch.ones(5, 3),
        {"stage1": torch.ones(5, 2, 4, 4) * logits.mean()},
    )


STUDENT, TEACHER = (answers(logits) for logits in DRAWN)


def kl():
    return KL(KL.Config(), SHAPES, SHAPES)


def cross_entropy(smoothing=0.0):
    """The formula in float64; a share of the label's probability is spread over all classes."""
    logits = DRAWN[0]
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    wanted = (1 - smoothing) * np.eye(7)[LABELS.numpy()] + smoothing / 7
    return -(wanted * log_p).sum(1).mean()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_losses_it_is_the_cross_entropy_of_the_labels(smoothing):
    objective = Objective([], 0.0, smoothing)
    total, parts = objective(STUDENT, None, LABELS)
    assert total.item() == pytest.approx(cross_entropy(smoothing), rel=1e-5)
    assert parts == {"ce": total}
    assert objective.reads == frozenset()


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", LOSSES)
def test_alpha_weighs_the_teacher_and_the_rest_is_the_labels(name, alpha, smoothing):
    loss = LOSSES[name](LOSSES[name].Config(), SHAPES, SHAPES)
    objective = Objective([loss], alpha, smoothing)
    total, parts = objective(STUDENT, TEACHER, LABELS)
    taught = sum(loss(STUDENT, TEACHER, LABELS).values()).item()
    assert total.item() == pytest.approx((1 - alpha) * cross_entropy(smoothing) + alpha * taught, rel=1e-5)
    assert parts["ce"].item() == pytest.approx(cross_entropy(smoothing), rel=1e-5)
    assert sum(parts.values()).item() == pytest.approx(cross_entropy(smoothing) + taught, rel=1e-5)
    assert objective.reads == loss.reads


class Gap(KL):
    """A second loss, learned: what the bank stores for it and a parameter of its own."""

    reads = frozenset({"embedding"})

    def __init__(self):
        super().__init__(KL.Config(), SHAPES, SHAPES)
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, student, teacher, labels):
        return {"gap": self.scale * (student.embedding - teacher.embedding - 1).square().mean()}


def test_several_losses_are_summed_and_read_together_and_learn():
    objective = Objective([kl(), Gap()], 0.5)
    total, parts = objective(STUDENT, TEACHER, LABELS)
    assert list(parts) == ["ce", "kl", "gap"]
    assert total.item() == pytest.approx(0.5 * sum(part.item() for part in parts.values()), rel=1e-6)
    assert objective.reads == {"logits", "embedding"}
    assert len(list(objective.parameters())) == 1


def test_parts_carry_no_graph_and_the_total_does():
    student = STUDENT._replace(logits=STUDENT.logits.clone().requires_grad_())
    total, parts = Objective([kl()], 0.5)(student, TEACHER, LABELS)
    assert total.requires_grad
    assert not any(part.requires_grad for part in parts.values())


def test_bfloat16_logits_give_a_float32_total():
    half = STUDENT._replace(logits=STUDENT.logits.bfloat16())
    raised = STUDENT._replace(logits=half.logits.float())
    with torch.autocast("cpu", torch.bfloat16):
        total, parts = Objective([kl()], 0.5, 0.1)(half, TEACHER, LABELS)
    assert {part.dtype for part in (total, *parts.values())} == {torch.float32}
    assert total == Objective([kl()], 0.5, 0.1)(raised, TEACHER, LABELS)[0]


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_lies_between_0_and_1(alpha):
    with pytest.raises(ValueError, match="alpha lies in"):
        Objective([kl()], alpha)


def test_alpha_has_something_to_weigh():
    with pytest.raises(ValueError, match=r"alpha = 0.5 weighs no loss"):
        Objective([], 0.5)


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_a_falling_alpha_leaves_the_labels_alone_at_the_end(progress):
    falling = Objective([kl()], 0.8, falling=True)
    falling.progress = progress
    total, _ = falling(STUDENT, TEACHER, LABELS)
    assert total == Objective([kl()], 0.8 * (1 - progress**2))(STUDENT, TEACHER, LABELS)[0]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_mixed_images_have_the_cross_entropy_of_both_labels_by_weight(smoothing):
    others, weight = torch.tensor([1, 3, 2, 0, 5]), torch.tensor([0.5, 0.6, 0.75, 1.0, 0.9])
    total, parts = Objective([], 0.0, smoothing)(STUDENT, None, LABELS, Mixed(others, weight))
    log_p = DRAWN[0] - np.log(np.exp(DRAWN[0]).sum(1, keepdims=True))
    own, other = np.eye(7)[LABELS.numpy()], np.eye(7)[others.numpy()]
    share = weight.double().numpy()[:, None]
    wanted = (1 - smoothing) * (share * own + (1 - share) * other) + smoothing / 7
    assert total.item() == pytest.approx(-(wanted * log_p).sum(1).mean(), rel=1e-5)
    assert parts == {"ce": total}
