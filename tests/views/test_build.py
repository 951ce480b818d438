import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kdsearch.cache import SUMS, making
from kdsearch.errors import CacheDamagedError
from kdsearch.outputs import Outputs
from kdsearch.progress import Silence
from kdsearch.tables import AugmentationConfig
from kdsearch.views.augment import Augmentation
from kdsearch.views.bank import ViewBank
from kdsearch.views.batches import ViewBatches
from kdsearch.views.build import ViewBuilder
from kdsearch.views.mixing import Mixing


class Steps(Silence):
    def __init__(self):
        self.told, self.said = [], []

    def say(self, text):
        self.said.append(text)

    def step(self, task, done, total, note=""):
        self.told.append((task, done, total))


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
from kdsearch.tables import AugmentationConfig

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


def test_the_bank_survives_json(bank):
    again = ViewBank.model_validate_json(bank.model_dump_json())
    assert again == bank
    assert isinstance(again.folder, Path)
    assert torch.equal(again.view(1).images, bank.view(1).images)


def test_rows_made_again_are_as_near_as_half_precision(builder):
    making = builder(count=None)
    making.build(0, Silence())
    assert making.gap(0, 64) < 0.002


@pytest.mark.parametrize(
    ("name", "shift", "least"), [("images", 1, float("inf")), ("teacher.logits", 5, 0.05)]
)
def test_a_view_of_something_else_is_found_out(builder, tmp_path, name, shift, least):
    plain, other = builder(count=None), builder("other", count=None)
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


class Seeing(nn.Module):
    """Answers with the mean colour of what it sees, and keeps its size."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 5)
        self.sizes = set()

    def forward(self, images):
        self.sizes.add(tuple(images.shape[-2:]))
        return Outputs(images.mean((2, 3)) @ torch.eye(3, 5), images.mean((2, 3)), {})


def seen_view(tmp_path, images, mixing=None):
    teachers = {"own": {"embedding": 3}, "large": {"embedding": 3, "image_size": 16}}
    bank = ViewBank(folder=tmp_path / "seen", count=1, classes=5, teachers=teachers)
    networks = {"own": Seeing(), "large": Seeing()}
    augment = Augmentation(AugmentationConfig(crop="resized", flip=True), 16)
    builder = ViewBuilder(bank, images, augment, networks, 0, size=8, mixing=mixing)
    builder.build(0, Silence())
    return builder, networks


def test_each_teacher_sees_the_same_crops_at_its_own_size(tmp_path):
    pictures = torch.randint(0, 256, (70, 3, 2, 2), dtype=torch.uint8).repeat_interleave(16, 2)
    builder, networks = seen_view(tmp_path, pictures.repeat_interleave(16, 3))
    view = builder.bank.view(0)
    assert view.images.shape == (70, 3, 8, 8)
    assert (networks["own"].sizes, networks["large"].sizes) == ({(8, 8)}, {(16, 16)})
    own, large = (view.answers[name].embedding.float() for name in ("own", "large"))
    assert (own - view.images.float().div(255).mean((2, 3))).abs().max() < 1e-3
    assert (own - large).abs().max() < 0.01
    assert builder.gap(0, 20) < 0.01


def test_a_mixed_view_says_with_whom_and_how_much(tmp_path):
    ramp = torch.arange(0, 250, 5, dtype=torch.uint8)
    builder, _ = seen_view(tmp_path, ramp[:, None, None, None].expand(-1, 3, 32, 32), Mixing(0.5, 0.5))
    view = builder.bank.view(0)
    partner, weight = view.mix
    assert sorted(partner.tolist()) == list(range(50))
    expected = weight * ramp.float() + (1 - weight) * ramp[partner].float()
    assert (view.images.float().mean((1, 2, 3)) - expected).abs().max() < 6
    assert (view.answers["own"].embedding[:, 0].float() * 255 - expected).abs().max() < 6
    assert builder.gap(0, 20) < 0.01


def test_batches_of_a_mixed_view_hand_out_both_labels(tmp_path):
    ramp = torch.arange(0, 250, 5, dtype=torch.uint8)
    builder, _ = seen_view(tmp_path, ramp[:, None, None, None].expand(-1, 3, 32, 32), Mixing(1.0, 0.0))
    batches = ViewBatches(
        builder.bank, ramp.long(), 10, 0, teachers=["own"], reads=("logits",), wait=lambda number: None
    )
    for batch in batches.epoch(0):
        weight = batch.mixed.weight
        expected = weight * batch.labels + (1 - weight) * batch.mixed.labels
        assert (batch.images[:, 0, 4, 4].float() - expected).abs().max() < 1
