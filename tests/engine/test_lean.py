import subprocess
import sys

import torch

from kdsearch.device import seeded
from kdsearch.engine.lean import in_place
from kdsearch.store.storage import open_storage

PROGRAM = """
import sys
import torch
from kdsearch.engine.lean import stay_lean
from kdsearch.engine.optimizers import OPTIMIZERS

if {lean}:
    stay_lean()
torch.manual_seed(0)
for make in OPTIMIZERS.values():
    layer = torch.nn.Linear(4, 3)
    optimizer = make(layer.parameters(), lr=0.1, weight_decay=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.ones(2, 4)).square().sum().backward()
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    print([value.hex() for value in layer.weight.detach().flatten().tolist()])
print("sympy" in sys.modules)
"""


STORAGE = """
import sys
from kdsearch.engine.lean import stay_lean
from kdsearch.store.storage import open_storage

stay_lean()
open_storage({url!r}, check=False).create_new_study([1], "made by a lean process")
print([name for name in sys.modules if name.startswith("alembic")])
"""


LOSSES = """
import torch
from kdsearch.distill import LOSSES
from kdsearch.engine.lean import compiler_back, stay_lean
from kdsearch.outputs import Outputs, Shapes

stay_lean()
hints = {"last": torch.rand(300, 3, 4, 4)}
teacher = Outputs(torch.rand(300, 5), torch.rand(300, 4), hints)
student = Outputs(torch.rand(300, 5, requires_grad=True), torch.rand(300, 4, requires_grad=True), hints)
shapes = Shapes(5, 4, {"last": (3, 4, 4)})
for made in LOSSES.values():
    total = sum(made(made.Config(), shapes, shapes)(student, teacher, torch.arange(300) % 5).values())
    if total.requires_grad:
        total.backward()
compiler_back()
from kdsearch.models.teachers import build_teacher
print(build_teacher("mobilenet_v3_small", 5, 16, (0.5,) * 3, (0.5,) * 3).shapes.classes)
"""


SHAPES = """
import psutil
import torch
from kdsearch.engine.lean import give_memory_back, stay_lean

if {lean}:
    stay_lean()
torch.set_num_threads(1)

def size_after(widths):
    for width in widths:
        images = torch.rand(2, 8, 8, width).to(memory_format=torch.channels_last).requires_grad_()
        layer = torch.nn.Conv2d(8, 8, 3).to(memory_format=torch.channels_last)
        layer(images).sum().backward()
    give_memory_back()
    return psutil.Process().memory_info().rss

print(-size_after(range(4, 204)) + size_after(range(204, 604)))
"""


def lines_of(lean):
    told = subprocess.check_output([sys.executable, "-c", PROGRAM.format(lean=lean)], text=True)
    return told.splitlines()


def test_a_lean_process_trains_the_same_without_torchs_compiler():
    *lean, lean_has_compiler = lines_of(lean=True)
    *usual, usual_has_compiler = lines_of(lean=False)
    assert lean == usual
    assert (lean_has_compiler, usual_has_compiler) == ("False", "True")


def test_a_lean_process_does_not_grow_with_the_shapes_it_has_trained():
    def growth(lean):
        return int(subprocess.check_output([sys.executable, "-c", SHAPES.format(lean=lean)]))

    assert growth(lean=True) < growth(lean=False) / 5


def test_a_lean_process_opens_a_storage_without_alembic(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    made = open_storage(url, create=True)
    told = subprocess.check_output([sys.executable, "-c", STORAGE.format(url=url)], text=True)
    assert told.split() == ["['alembic.migration']"]
    assert [study.study_name for study in made.get_all_studies()] == ["made by a lean process"]


def test_activations_in_place_change_no_answer_and_no_gradient():
    def answers(change):
        with seeded(3):
            net = change(
                torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU6())
            )
            net(torch.rand(5, 3, 8, 8)).square().sum().backward()
        return [net[2].inplace, *(parameter.grad.tolist() for parameter in net.parameters())]

    assert answers(in_place) == [True, *answers(lambda net: net)[1:]]


def test_a_lean_process_computes_every_loss_and_can_still_build_a_teacher():
    told = subprocess.check_output([sys.executable, "-c", LOSSES], text=True)
    assert told == "5\n"
