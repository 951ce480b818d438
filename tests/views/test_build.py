import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kdsearch.cache import SUMS, making
from kdsearch.device import seeded
from kdsearch.errors import CacheDamagedError, KdsearchError, TeacherError, UsageError
from kdsearch.models.student import as_input
from kdsearch.models.teachers import build_teacher
from kdsearch.outputs import Outputs, Shapes
from kdsearch.progress import Silence
from kdsearch.views.augment import Augmentation
from kdsearch.views.bank import ViewBank
from kdsearch.views.build import CHUNK, ViewBuilder, affordable_views, view_bytes
from kdsearch.views.settings import AugmentationConfig, ViewsConfig

GIB = 2**30
COUNT = CHUNK + 20  # images: two chunks


class Steps(Silence):
    def __init__(self):
        self.told, self.said = [], []

    def say(self, text):
        self.said.append(text)

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
    files = sum(path.stat().st_size for path in making.bank.path(0).glob("*.npy"))
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
        UsageError, match=r"a view takes 512 MiB, 256 MiB more than there is room for"
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
def test_a_view_of_something_else_is_found_out(builder, tmp_path, name, shift, least):
    plain, other = builder(count=COUNT), builder("other", count=COUNT)
    plain.build(0, Silence())
    with making(other.bank.path(0), 0) as folder:  # its sums are right, what it holds is not
        for file in plain.bank.path(0).glob("*.npy"):
            numbers = np.load(file)
            np.save(folder / file.name, numbers + numbers.dtype.type(shift) * (file.stem == name))
    assert other.gap(0, 64) >= least


@pytest.mark.parametrize("name", ["images.npy", "teacher.logits.npy", "teacher.embedding.npy", SUMS])
def test_a_damaged_view_is_said_in_a_line_and_made_again(builder, damage, name):
    making = builder()
    making.build(0, Silence())
    path = making.bank.path(0)
    whole = {file.name: file.read_bytes() for file in path.iterdir()}
    damage(path / name)
    with pytest.raises(CacheDamagedError, match="damaged"):
        making.bank.view(0)
    told = Steps()
    builder().build(0, told)
    (line,) = told.said
    assert line.startswith(f"{path / name}: damaged (")
    assert "\n" not in line
    assert told.told == [("view 1 of 3", 40, 40)]
    assert {file.name: file.read_bytes() for file in path.iterdir()} == whole
    assert torch.equal(making.bank.view(0).images, torch.from_numpy(np.load(path / "images.npy")))


def test_what_a_killed_process_left_half_made_goes_with_the_next_look(builder):
    making = builder()
    making.build(0, Silence())
    half = making.bank.folder / ".view-0000.ab12cd34"
    half.mkdir()
    (half / "images.npy").write_bytes(b"half")
    builder().build(0, Silence())
    assert sorted(path.name for path in making.bank.folder.iterdir()) == [".view-0000.lock", "view-0000"]


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
