"""A training step on a simulated GPU: tensors without content, which know on which device they would be.

What it shows: no operation mixes devices, none waits for a result, none copies while the program waits.
Autograd cannot go backward there: a second test follows the whole step on the CPU.
"""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kdsearch.distill import LOSSES
from kdsearch.distill.objective import Objective
from kdsearch.engine.evaluate import answer_all
from kdsearch.engine.optimizers import OPTIMIZERS
from kdsearch.engine.training import Labelled, Training
from kdsearch.models.student import StudentConfig, build_student, student_outputs
from kdsearch.outputs import Outputs, Shapes
from kdsearch.views.batches import Batch

IMAGES, CLASSES, WIDTH = 8, 5, 6
aten = torch.ops.aten
# What the CPU must know before it can go on: a number, or how large a result is.
WAITING = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.equal.default,
    aten.is_nonzero.default,
}
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}
COPIES = {aten._to_copy.default, aten.copy_.default}


class WaitedError(Exception):
    """An operation for which a program would wait, or that a GPU would refuse."""


class Eager(TorchDispatchMode):
    """Fails on an operation that waits, and on one whose tensors are on two devices."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (aten.pin_memory.default, aten._pin_memory.default):
            return args[0]  # what the simulation lacks
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        masked = func in INDEXING and any(tensor.dtype == torch.bool for tensor in tensors[1:])
        places = {tensor.device.type for tensor in tensors}
        if func in COPIES and kwargs.get("device") is not None:
            places.add(torch.device(kwargs["device"]).type)
        at_once = kwargs.get("non_blocking") or any(each is True for each in args)
        apart = len(places) > 1 and not (func in COPIES and at_once)
        if func in WAITING or masked or apart:
            raise WaitedError(f"{func}: {[(tuple(t.shape), t.dtype, t.device) for t in tensors]}")
        return func(*args, **kwargs)


@pytest.fixture
def simulated():
    """Tensors that are made while it lasts have no content."""
    with FakeTensorMode():
        yield


def outputs():
    logits, embedding = torch.empty(IMAGES, CLASSES), torch.empty(IMAGES, WIDTH)
    return Outputs(logits, embedding, {"stage1": torch.empty(IMAGES, 4, 6, 6)})


def losses():
    shapes = Shapes(CLASSES, WIDTH, {"stage1": (4,)})
    return [kind(kind.Config(), shapes, shapes) for kind in LOSSES.values()]


class Net(nn.Module):
    """Convolution, BatchNorm, dropout, linear."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(4, CLASSES)
        self.widen = nn.Linear(4, WIDTH)

    def forward(self, images):
        hint = self.body(images)
        pooled = hint.mean((2, 3))
        return Outputs(self.head(pooled), self.widen(pooled), {"stage1": hint})

    def to(self, device):
        return self  # it is made where it is needed


class Weighed(Objective):
    """All losses; a simulated total goes backward by filling the gradients, since autograd cannot."""

    def __init__(self, network):
        super().__init__(losses(), 0.5)
        self.trained = [*network.parameters(), *self.parameters()]

    def to(self, device):
        return self

    def forward(self, student, teacher, labels, mixed=None):
        total, parts = super().forward(student, teacher, labels, mixed)
        if total.is_cuda:
            total.backward = self.fill
        return total, parts

    def fill(self):
        for parameter in self.trained:
            parameter.grad = torch.empty_like(parameter)


class SimulatedTraining(Training):
    """A GPU that is simulated has no generator of random numbers."""

    def _first_random(self, seed):
        return torch.empty(16, dtype=torch.uint8)


def answer(net, images):
    return net(images)


class Steps:
    steps = 3


def step(kind, device, **config):
    """A training's first two steps, with all losses."""
    with torch.device(device):
        network = Net()
        training = kind(
            network,
            Weighed(network),
            Training.Config(**config),
            Steps(),
            Labelled(torch.empty(4, 3, 8, 8, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)),
            seed=0,
            answer=answer,
        )
        images = torch.zeros(IMAGES, 3, 12, 12, dtype=torch.uint8)
        batch = Batch(images, torch.arange(IMAGES) % CLASSES, outputs())
    training.network.train()
    with Eager():
        training._train(batch)
        training._train(batch)
    return training


@pytest.mark.filterwarnings("ignore:CUDA is not available")  # of autocast, which therefore is float32
@pytest.mark.parametrize("optimizer", ["adamw", "adam", "muon"])  # it has no fused SGD
def test_a_step_on_a_simulated_gpu_neither_waits_nor_mixes_devices(simulated, optimizer):
    training = step(SimulatedTraining, "cuda", optimizer=optimizer, ema_epochs=0.0)  # it copies no network
    assert {str(tensor.device) for tensor in training.network.parameters()} == {"cuda:0"}
    assert {str(total.device) for name, total in training.sums.items() if name != "images"} == {"cuda:0"}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_no_operation_of_a_whole_step_wants_a_result(optimizer):
    assert step(Training, "cpu", optimizer=optimizer).step == 2


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_neither_waits_nor_mixes_devices(simulated, name):
    with torch.device("cuda"):
        loss = losses()[list(LOSSES).index(name)]
        student, teacher, labels = outputs(), outputs(), torch.arange(IMAGES) % CLASSES
    with Eager():
        parts = loss(student, teacher, labels)
    assert {(str(part.device), part.shape) for part in parts.values()} == {("cuda:0", ())}


def test_rkd_of_a_large_batch_neither_waits_nor_mixes_devices(simulated):
    shapes = Shapes(CLASSES, WIDTH, {})
    with torch.device("cuda"):
        large = Outputs(torch.empty(300, CLASSES), torch.empty(300, WIDTH), {})
        loss = LOSSES["rkd"](LOSSES["rkd"].Config(), shapes, shapes)
        labels = torch.zeros(300, dtype=torch.int64)
    with Eager():
        parts = loss(large, large, labels)
    assert {str(part.device) for part in parts.values()} == {"cuda:0"}


def test_images_that_did_not_fit_are_scored_on_the_network_s_device_in_float32(simulated):
    config = StudentConfig(
        family="plain",
        options={},
        width=4,
        growth=1.0,
        depths=(1,),
        strides=(1, 2),
        downsampling="stride",
        activation="relu",
        classes=CLASSES,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )
    seen = []

    def watched(net, images):
        seen.append((torch.is_autocast_enabled("cuda"), torch.backends.cudnn.allow_tf32))
        return student_outputs(net, images)

    images = torch.empty(2000, 3, 8, 8, dtype=torch.uint8)
    with torch.device("cuda"):
        student = build_student(config)
    with Eager():
        logits = answer_all(student, watched, images)
    assert (str(logits.device), logits.dtype, logits.shape) == ("cuda:0", torch.float32, (2000, CLASSES))
    assert seen == [(False, False)] * 2
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    "wrong",
    [
        lambda row: row[row > 0],
        lambda row: row.sum().item(),
        lambda row: row[torch.arange(3)],
        lambda row: row + torch.ones(5),
        lambda row: torch.stack([row[0], torch.ones(())]),
        lambda row: torch.empty(5).to(row.device),
        lambda row: row.cpu(),
    ],
    ids=["mask", "item", "index on the CPU", "operand on the CPU", "stack", "copy there", "copy back"],
)
def test_the_simulation_notices(simulated, wrong):
    row = torch.ones(5, device="cuda")
    with Eager(), pytest.raises(WaitedError):
        wrong(row)
