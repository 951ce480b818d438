import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kdsearch.device import seeded
from kdsearch.errors import KdsearchError, UsageError
from kdsearch.models.student import as_input
from kdsearch.models.teachers import build_teacher
from kdsearch.outputs import Shapes
from kdsearch.progress import Silence
from kdsearch.views.augment import Augmentation
from kdsearch.views.bank import ViewBank, open_view
from kdsearch.views.build import CHUNK, ViewBuilder, affordable_views, view_bytes
from kdsearch.views.settings import AugmentationConfig, ViewsConfig

GIB = 2**30
COUNT = CHUNK + 20  # images: two chunks


class Steps(Silence):
    def __init__(self):
        self.told = []

    def step(self, task, done, total, note=""):
        self.told.append((task, done, total))


@pytest.fixture(scope="session")
def teacher(images):
    """Untrained, but with the statistics of the images: otherwise all its answers are the same."""
    with seeded(0), torch.no_grad():
        made = build_teacher("mobilenet_v3_small", 5, 16, (0.4, 0.5, 0.6), (0.2, 0.2, 0.3))
        for layer in made.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None
        made.train()(as_input(images[:64]))
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (COUNT, 3, 16, 16), generator=generator, dtype=torch.uint8)


@pytest.fixture
def builder(tmp_path, teacher, images):
    """Makes views in a folder of its own, of the first `count` images."""

    def make(name="views", seed=0, count=40):
        teachers = {"teacher": {"embedding": teacher.shapes.embedding}}
        bank = ViewBank(folder=tmp_path / name, count=3, classes=5, teachers=teachers)
        augment = Augmentation(AugmentationConfig(rotation=30.0, jitter=0.2), 16)
        return ViewBuilder(bank, images[:count], augment, {"teacher": teacher}, seed)

    return make


def test_the_teacher_s_answers_belong_to_exactly_the_stored_pixels(builder, teacher):
    making = builder(count=COUNT)
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


def test_large_images_are_asked_about_in_smaller_batches(builder, teacher, monkeypatch):
    making = builder(count=CHUNK)
    sizes = []
    hook = teacher.register_forward_pre_hook(lambda net, images: sizes.append(len(images[0])))
    monkeypatch.setattr("kdsearch.views.build.PIXELS", 200 * 16 * 16)
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
    assert {path.name for path in bank.path(0).iterdir()} == {"images.npy", *files}
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


def test_a_view_is_a_function_of_images_config_seed_and_number(builder):
    one, other, reseeded = builder("one"), builder("other"), builder("reseeded", seed=1)
    for number in (1, 0):
        one.build(number, Silence())
    torch.rand(3)
    other.build(0, Silence())
    reseeded.build(0, Silence())
    views = one.bank.view(0), other.bank.view(0)
    tensors = [(view.images, *view.answers["teacher"]) for view in views]
    assert all(torch.equal(a, b) for a, b in zip(*tensors, strict=True))
    assert not torch.equal(views[0].images, one.bank.view(1).images)
    assert not torch.equal(views[0].images, reseeded.bank.view(0).images)


def test_a_teacher_left_in_train_mode_answers_in_evaluation_mode(builder, teacher):
    one, other = builder("one"), builder("other")
    one.build(0, Silence())
    teacher.train()
    other.build(0, Silence())
    assert torch.equal(
        one.bank.view(0).answers["teacher"].logits, other.bank.view(0).answers["teacher"].logits
    )


def test_a_view_that_is_there_is_not_made_again(builder):
    first, second = Steps(), Steps()
    builder().build(0, first)
    builder().build(0, second)
    assert first.told == [("view 1 of 3", 40, 40)]
    assert second.told == []


def test_an_interrupted_view_leaves_nothing(builder):
    class Stop(Silence):
        def step(self, task, done, total, note=""):
            raise KeyboardInterrupt

    making = builder()
    with pytest.raises(KeyboardInterrupt):
        making.build(0, Stop())
    assert not making.bank.exists(0)
    assert [path.name for path in making.bank.folder.iterdir()] == [".view-0000.lock"]


def test_a_view_can_be_read_while_others_are_made(builder):
    making = builder()
    making.build(0, Silence())
    assert making.bank.exists(0)
    assert not making.bank.exists(1)


RACER = """
import json, sys
from pathlib import Path
import torch
from torch import nn
from kdsearch.outputs import Outputs
from kdsearch.progress import Silence
from kdsearch.views.augment import Augmentation
from kdsearch.views.bank import open_view, ViewBank
from kdsearch.views.build import ViewBuilder
from kdsearch.views.settings import AugmentationConfig

class Teacher(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 5)
    def forward(self, images):
        embedding = images.mean((2, 3))
        return Outputs(self.head(embedding), embedding, {})

class Steps(Silence):
    made = []
    def step(self, task, done, total, note=""):
        self.made.append(task)

torch.set_num_threads(1)
bank = ViewBank(folder=Path(sys.argv[1]), count=30, classes=5, teachers={"teacher": {"embedding": 3}})
images = torch.zeros(200, 3, 8, 8, dtype=torch.uint8)
builder = ViewBuilder(bank, images, Augmentation(AugmentationConfig(), 8), {"teacher": Teacher()}, 0)
print("ready", flush=True)
input()
for number in range(bank.count):
    builder.build(number, Steps())
print(json.dumps(Steps.made))
"""


def test_of_two_racing_processes_each_view_is_made_once(tmp_path):
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    made = [json.loads(racer.communicate()[0]) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert sorted(made[0] + made[1]) == sorted(f"view {number + 1} of 30" for number in range(30))


def test_a_view_s_size_is_its_pixels_and_answers_in_half_precision(builder):
    making = builder()
    making.build(0, Silence())
    files = sum(path.stat().st_size for path in making.bank.path(0).iterdir())
    assert (
        0 < files - view_bytes(making.images, 5, [making.bank.teachers["teacher"].embedding]) < 3 * 256
    )  # three headers
    assert view_bytes(torch.empty(10, 3, 4, 4), 5, [6, 2]) == 480 + 2 * 10 * (11 + 7)


def test_a_study_gets_no_more_views_than_it_asked_for_has_epochs_or_fit():
    config = ViewsConfig(count=8, bank_gib=0.01)
    assert affordable_views(config, 1000, epochs=30) == 8
    assert affordable_views(config, 1000, epochs=3) == 3
    assert affordable_views(config, int(0.004 * GIB), epochs=30) == 2


def test_a_bank_that_holds_no_view_says_how_much_is_missing(tmp_path):
    with pytest.raises(
        UsageError, match=r"a view takes 0\.50 GiB, 0\.25 GiB more than there is room for"
    ) as told:
        affordable_views(ViewsConfig(bank_gib=0.25), GIB // 2, epochs=3)
    assert str(told.value).startswith(f"{tmp_path / 'cache'}: ")
    assert "views.bank_gib" in str(told.value)
    assert "\n" not in str(told.value)


def test_half_of_the_free_disk_is_left(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(UsageError, match="more than there is room for"):
        affordable_views(ViewsConfig(bank_gib=1e9), int(free * 0.6), epochs=3)


def test_a_machine_that_cannot_hold_the_next_view_says_so(tmp_path, teacher):
    bank = ViewBank(folder=tmp_path / "views", count=1, classes=5, teachers={"teacher": {"embedding": 6}})
    huge = torch.empty((10**12, 3, 64, 64), dtype=torch.uint8, device="meta")
    builder = ViewBuilder(bank, huge, Augmentation(AugmentationConfig(), 64), teacher, 0)
    with pytest.raises(KdsearchError, match="GiB too little free disk for the cache"):
        builder.build(0, Silence())
    assert not bank.exists(0)


def test_the_bank_survives_json(bank):
    again = ViewBank.model_validate_json(bank.model_dump_json())
    assert again == bank
    assert isinstance(again.folder, Path)
    assert torch.equal(again.view(1).images, bank.view(1).images)


def test_rows_made_again_are_as_near_as_half_precision(builder):
    making = builder(count=COUNT)
    making.build(0, Silence())
    assert making.gap(0, 64) < 0.002


@pytest.mark.parametrize(
    ("name", "shift", "least"), [("images", 1, float("inf")), ("teacher.logits", 5, 0.05)]
)
def test_a_view_that_was_changed_is_found_out(builder, name, shift, least):
    making = builder(count=COUNT)
    making.build(0, Silence())
    path = making.bank.path(0) / f"{name}.npy"
    np.save(path, np.load(path) + np.load(path).dtype.type(shift))
    open_view.cache_clear()
    assert making.gap(0, 64) >= least
