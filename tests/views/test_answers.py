"""What teachers say of the pixels that a view stores."""

import pytest
import torch
from torch import nn

from kdsearch.cache import SUMS
from kdsearch.device import seeded
from kdsearch.errors import TeacherError
from kdsearch.models.student import as_input
from kdsearch.models.teachers import build_teacher
from kdsearch.outputs import Outputs, Shapes
from kdsearch.progress import Silence
from kdsearch.tables import AugmentationConfig
from kdsearch.views.augment import Augmentation
from kdsearch.views.bank import ViewBank
from kdsearch.views.build import CHUNK, ViewBuilder


def test_the_teacher_s_answers_belong_to_exactly_the_stored_pixels(builder, teacher):
    making = builder(count=None)
    making.build(1, Silence())
    view = making.bank.view(1)
    answers = view.answers["teacher"]
    again = teacher.answer(as_input(view.images))
    torch.testing.assert_close(answers.logits.float(), again.logits, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(answers.embedding.float(), again.embedding, rtol=2e-3, atol=2e-3)
    assert (view.images.dtype, answers.logits.dtype, answers.embedding.dtype) == (
        torch.uint8,
        torch.half,
        torch.half,
    )
    assert making.bank.shapes(["teacher"]) == teacher.shapes._replace(hints={})
    wrong = teacher.answer(as_input(view.images.roll(1, 0)))
    assert (answers.logits.float() - wrong.logits).abs().max() > 0.1


def test_large_images_are_asked_about_in_smaller_batches(builder, teacher):
    making = builder(count=CHUNK)
    sizes = []
    hook = teacher.register_forward_pre_hook(lambda net, images: sizes.append(len(images[0])))
    making.pixels = 200 * 16 * 16
    making.build(0, Silence())
    hook.remove()
    assert sizes == [200, 200, 112]
    view = making.bank.view(0)
    again = teacher.answer(as_input(view.images)).logits
    torch.testing.assert_close(view.answers["teacher"].logits.float(), again, rtol=2e-3, atol=2e-3)


def test_several_teachers_answer_the_same_pixels_which_are_stored_once(builder, images, tmp_path):
    alone = builder("alone")
    alone.build(0, Silence())
    with seeded(1):
        other = build_teacher("mobilenet_v3_small", 5, 16, (0.4, 0.5, 0.6), (0.2, 0.2, 0.3), head=(7,)).eval()
    networks = {"large": alone.teachers["teacher"], "other": other}
    sizes = {name: {"embedding": network.shapes.embedding} for name, network in networks.items()}
    bank = ViewBank(folder=tmp_path / "both", count=3, classes=5, teachers=sizes)
    ViewBuilder(bank, alone.images, alone.augment, networks, alone.seed).build(0, Silence())
    files = {f"{name}.{field}.npy" for name in networks for field in ("logits", "embedding")}
    assert {path.name for path in bank.path(0).iterdir()} == {"images.npy", *files, SUMS}
    both, one = bank.view(0), alone.bank.view(0)
    assert torch.equal(both.images, one.images)
    assert torch.equal(both.answers["large"].logits, one.answers["teacher"].logits)
    again = other.answer(as_input(both.images))
    torch.testing.assert_close(both.answers["other"].logits.float(), again.logits, rtol=2e-3, atol=2e-3)
    assert both.answers["other"].embedding.shape == (40, 7)


def test_the_average_of_teachers_has_their_embeddings_side_by_side_and_no_hints(tmp_path):
    hints = {"layer1": (8, 4, 4)}
    teachers = {"a": {"embedding": 6, "hints": hints}, "b": {"embedding": 4}}
    bank = ViewBank(folder=tmp_path, count=1, classes=5, teachers=teachers)
    assert bank.shapes(["a"]) == Shapes(5, 6, hints)
    assert bank.shapes(["a", "b"]) == Shapes(5, 10, {})


def test_a_teacher_left_in_train_mode_answers_in_evaluation_mode(builder, teacher):
    one, other = builder("one"), builder("other")
    one.build(0, Silence())
    teacher.train()
    other.build(0, Silence())
    assert torch.equal(
        one.bank.view(0).answers["teacher"].logits, other.bank.view(0).answers["teacher"].logits
    )


class Loud(nn.Module):
    """Answers each image with its largest pixel times a factor, and with its mean."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, images):
        largest = images.amax((1, 2, 3))[:, None] * self.factor
        return Outputs(largest.expand(-1, 5), images.mean((2, 3)), {})


@pytest.fixture
def loud(tmp_path, images):
    """Makes views of pictures that get brighter, by a teacher whose logits grow with that."""

    def make(factor, name="loud"):
        bright = images[: CHUNK + 8].clone().fill_(1)
        bright[CHUNK:] = 255
        bank = ViewBank(folder=tmp_path / name, count=1, classes=5, teachers={"loud": {"embedding": 3}})
        return ViewBuilder(
            bank, bright, Augmentation(AugmentationConfig(crop="none"), 16), {"loud": Loud(factor)}, 0
        )

    return make


def test_logits_beyond_half_precision_are_stored_in_single_precision(loud):
    quiet, making = loud(100.0, "quiet"), loud(1e6)
    for each in (quiet, making):
        each.build(0, Silence())
    stored = making.bank.view(0).answers["loud"]
    assert quiet.bank.view(0).answers["loud"].logits.dtype == torch.half
    assert (stored.logits.dtype, stored.embedding.dtype) == (torch.float32, torch.half)
    assert stored.logits[CHUNK:].eq(1e6).all()
    assert stored.logits[:CHUNK].isclose(torch.tensor(1e6 / 255), rtol=1e-3).all()  # half at first
    assert making.gap(0, 64) < 0.002
    assert not list(making.bank.path(0).glob("*.wide"))


@pytest.mark.parametrize("factor", [float("inf"), float("nan"), 1e38 * 10])
def test_an_answer_that_is_not_finite_names_teacher_and_view_and_stores_nothing(loud, factor):
    making = loud(factor)
    with pytest.raises(TeacherError, match=r"teacher 'loud': its logits for view 1 of 1 are not all finite"):
        making.build(0, Silence())
    assert [path.name for path in making.bank.folder.iterdir()] == [".view-0000.lock"]
