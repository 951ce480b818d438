"""Mistakes found in published code of such losses, by their numbers; each is impossible here."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from kdsearch.distill.kl import KL
from kdsearch.distill.objective import Objective
from kdsearch.distill.rkd import RKD
from kdsearch.models.teachers import build_teacher
from kdsearch.outputs import Outputs, Shapes

SHAPES = Shapes(5, 5, {})
LABELS = torch.tensor([4, 0, 2, 2])


def answers(seed, width=5):
    drawn = torch.Generator().manual_seed(seed)
    return Outputs(3 * torch.randn(4, 5, generator=drawn), torch.randn(4, width, generator=drawn), {})


STUDENT, TEACHER = answers(1), answers(2)


def kl(student, teacher, temperature=4.0):
    loss = KL(KL.Config(temperature=temperature), SHAPES, SHAPES)
    return loss(student, teacher, LABELS)["kl"]


def objective(alpha):
    return Objective([KL(KL.Config(), SHAPES, SHAPES)], alpha)


def probabilities(*rows):
    return Outputs(torch.tensor(rows).log(), torch.empty(0), {})


def test_1_softmax_runs_over_classes_so_that_images_do_not_mix():
    alone = [
        kl(Outputs(STUDENT.logits[[i]], *STUDENT[1:]), Outputs(TEACHER.logits[[i]], *TEACHER[1:]))
        for i in range(4)
    ]
    torch.testing.assert_close(kl(STUDENT, TEACHER), torch.stack(alone).mean())


def test_2_both_sides_are_log_probabilities_so_that_kl_is_not_negative():
    for seed in range(50):
        assert kl(answers(seed), answers(seed + 1)) > 0
        assert abs(kl(answers(seed), answers(seed))) < 1e-5


def test_3_the_mean_is_over_images_so_that_impossible_classes_change_nothing():
    def widened(given):
        return given._replace(logits=torch.cat([given.logits, torch.full((4, 15), -1e4)], dim=1))

    torch.testing.assert_close(kl(widened(STUDENT), widened(TEACHER)), kl(STUDENT, TEACHER))


def test_4_cross_entropy_is_taken_against_labels_and_is_part_of_the_total():
    _, parts = objective(0.5)(STUDENT, TEACHER, LABELS)
    torch.testing.assert_close(parts["ce"], cross_entropy(STUDENT.logits, LABELS))
    _, other_teacher = objective(0.5)(STUDENT, answers(3), LABELS)
    assert other_teacher["ce"] == parts["ce"]
    total, _ = objective(0.5)(STUDENT, TEACHER, LABELS)
    other_labels, _ = objective(0.5)(STUDENT, TEACHER, LABELS.flip(0))
    assert total != other_labels


def test_5_the_teacher_stands_first():
    student, teacher = probabilities([0.5, 0.5]), probabilities([0.9, 0.1])
    teacher_first = 0.9 * torch.tensor(0.9 / 0.5).log() + 0.1 * torch.tensor(0.1 / 0.5).log()
    torch.testing.assert_close(kl(student, teacher, temperature=1.0), teacher_first)
    assert abs(kl(teacher, student, temperature=1.0) - teacher_first) > 0.1


def test_6_alpha_always_weighs_the_teacher():
    labels_only, parts = objective(0.0)(STUDENT, TEACHER, LABELS)
    teacher_only, _ = objective(1.0)(STUDENT, TEACHER, LABELS)
    mostly_teacher, _ = objective(0.75)(STUDENT, TEACHER, LABELS)
    assert labels_only == parts["ce"]
    assert teacher_only == parts["kl"]
    torch.testing.assert_close(mostly_teacher, 0.25 * parts["ce"] + 0.75 * parts["kl"])


def test_7_cross_entropy_reads_logits_and_never_an_embedding_even_of_the_same_width():
    student = STUDENT._replace(embedding=STUDENT.embedding.clone().requires_grad_())
    logits = STUDENT.logits.clone().requires_grad_()
    total, _ = objective(0.5)(student._replace(logits=logits), answers(2, width=9), LABELS)
    total.backward()
    assert student.embedding.grad is None
    assert logits.grad.any()
    same, _ = objective(0.5)(STUDENT._replace(embedding=torch.zeros(4, 5)), TEACHER, LABELS)
    assert total == same


@pytest.mark.parametrize("size", [1e4, 3e4])
def test_8_no_logarithm_of_zero_however_sure_both_are(size):
    logits = (size * torch.eye(5)[:4]).requires_grad_()
    student, teacher = STUDENT._replace(logits=logits), TEACHER._replace(logits=size * torch.eye(5)[1:])
    total, parts = objective(0.5)(student, teacher, LABELS)
    total.backward()
    assert all(part.isfinite() for part in (total, *parts.values()))
    assert logits.grad.isfinite().all()


def test_10_no_gradient_reaches_the_teacher_whatever_is_handed_over():
    teacher = TEACHER._replace(logits=TEACHER.logits.clone().requires_grad_())
    student = STUDENT._replace(logits=STUDENT.logits.clone().requires_grad_())
    total, _ = objective(0.5)(student, teacher, LABELS)
    total.backward()
    assert teacher.logits.grad is None
    assert student.logits.grad.any()


def test_10_a_teacher_answers_in_eval_mode_and_without_gradients():
    teacher = build_teacher("resnet18", 5, 8, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)).train()
    before = {key: tensor.clone() for key, tensor in teacher.state_dict().items()}
    images = torch.rand(4, 3, 8, 8)
    answer = teacher.answer(images)
    assert not teacher.training
    assert not answer.logits.requires_grad
    assert not answer.embedding.requires_grad
    assert all(torch.equal(before[key], tensor) for key, tensor in teacher.state_dict().items())
    torch.testing.assert_close(teacher.answer(images[:1]).logits, answer.logits[:1])


def test_9_rkd_is_a_huber_loss_of_relative_distances():
    drawn = torch.Generator().manual_seed(4)
    ours, theirs = torch.randn((2, 6, 3), generator=drawn)
    theirs[0] += 1000.0  # one image far from the others: squared, or not divided, its pairs would be all

    def distance(student):
        loss = RKD(RKD.Config(angle=0.0, distance=1.0), SHAPES, SHAPES)
        answers = Outputs(torch.empty(0), student, {}), Outputs(torch.empty(0), theirs, {})
        return loss(*answers, torch.arange(6))["rkd_distance"]

    assert distance(ours) < 2
    torch.testing.assert_close(distance(10 * ours), distance(ours))


def test_9_rkd_never_holds_a_tensor_of_batch_cubed_times_width():
    sizes = []

    def keep(tensor):
        sizes.append(tensor.numel())
        return tensor

    embedding = torch.randn(20, 50, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = RKD(RKD.Config(), SHAPES, SHAPES)
        teacher = Outputs(torch.empty(0), torch.randn(20, 60), {})
        loss(Outputs(torch.empty(0), embedding, {}), teacher, torch.arange(20))
    assert max(sizes) <= max(20**3, 20 * 20 * 60)
