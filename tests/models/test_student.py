import inspect
import subprocess
import sys
from math import prod

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from kdsearch.models.around import Residual, SqueezeExcitation
from kdsearch.models.families import FAMILIES
from kdsearch.models.student import (
    ACTIVATIONS,
    StudentConfig,
    StudentNet,
    as_input,
    build_student,
    strides_for,
    student_outputs,
    student_shapes,
)

AROUND = [
    {},
    {"stem": "patches"},
    {"stem": "patches", "downsampling": "pool"},
    {"excitation": True},
    {"head_expansion": 2, "dropout": 0.2},
    *({"shortcut": kind, "scale": scale} for kind in ("identity", "pool", "conv") for scale in (False, True)),
    {"excitation": True, "shortcut": "pool", "downsampling": "pool"},
]
EVERY = pytest.mark.parametrize(
    ("family", "downsampling"), [(family, how) for family in FAMILIES for how in ("stride", "pool")]
)


def varied(config, **changes):
    return StudentConfig(**(config.model_dump() | changes))


@EVERY
def test_outputs_have_the_shapes_that_the_config_tells(config, family, downsampling):
    config = varied(config, family=family, options={}, downsampling=downsampling)
    outputs = student_outputs(build_student(config), torch.rand(3, 3, 16, 16))
    shapes = student_shapes(config)
    assert outputs.logits.shape == (3, shapes.classes)
    assert outputs.embedding.shape == (3, shapes.embedding)
    assert {name: hint.shape[1:2] for name, hint in outputs.hints.items()} == shapes.hints


@EVERY
def test_both_ways_of_downsampling_end_with_the_same_map(config, family, downsampling):
    maps = build_student(
        varied(config, family=family, options={}, downsampling=downsampling)
    ).forward_features(torch.rand(2, 3, 16, 16))
    assert [map_.shape[2] for map_ in maps.values()] == [16, 8, 4]


@EVERY
@pytest.mark.parametrize("strides", [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 1, 2)])
def test_the_last_map_of_the_smallest_input_has_two_by_two_pixels(config, family, downsampling, strides):
    config = varied(config, family=family, options={}, downsampling=downsampling, strides=strides)
    for more in (0, 1):
        size = 2 * prod(config.strides) + more
        last = list(build_student(config).forward_features(torch.rand(2, 3, size, size)).values())[-1]
        assert last.shape[2:] >= (2, 2)


@pytest.mark.parametrize("around", AROUND, ids=str)
def test_what_stands_around_the_blocks_changes_no_shape(config, around):
    config = varied(config, strides=(2, 1, 2), **around)
    outputs = student_outputs(build_student(config), torch.rand(3, 3, 16, 16))
    shapes = student_shapes(config)
    assert [hint.shape[1:] for hint in outputs.hints.values()] == [
        (width, side, side) for width, side in zip(config.widths, (8, 8, 4), strict=True)
    ]
    assert outputs.embedding.shape == (3, shapes.embedding)
    assert outputs.logits.shape == (3, 5)


@pytest.mark.parametrize("image_size", [2, 3, 4, 7, 8, 16, 28, 32, 33, 64, 96, 128, 224])
@pytest.mark.parametrize("stages", [1, 3, 6])
@pytest.mark.parametrize("downsampling", ["stride", "pool"])
@pytest.mark.parametrize("where", [(1, 2, 2), (2, 0, 2), (2, 1, 5)], ids=str)
def test_strides_leave_at_least_two_by_two_pixels(config, image_size, stages, downsampling, where):
    stem_stride, full_stages, smallest_map = where
    strides = strides_for(
        image_size, stages, stem_stride=stem_stride, full_stages=full_stages, smallest_map=smallest_map
    )
    config = varied(config, depths=(1,) * stages, strides=strides, downsampling=downsampling, growth=1)
    assert 2 * prod(config.strides) <= image_size
    last = list(build_student(config).forward_features(torch.rand(2, 3, image_size, image_size)).values())[-1]
    assert min(last.shape[2:]) >= min(smallest_map, image_size)


@pytest.mark.parametrize(
    ("where", "strides"),
    [
        ({"image_size": 64, "stages": 4}, (2, 1, 2, 2, 2)),
        ({"image_size": 64, "stages": 4, "full_stages": 0}, (2, 2, 2, 2, 1)),
        ({"image_size": 64, "stages": 4, "full_stages": 0, "smallest_map": 2}, (2, 2, 2, 2, 2)),
        ({"image_size": 64, "stages": 4, "full_stages": 2}, (2, 1, 1, 2, 2)),
        ({"image_size": 64, "stages": 4, "full_stages": 3}, (2, 1, 1, 2, 2)),  # else the last map has 16 x 16
        ({"image_size": 64, "stages": 4, "smallest_map": 8}, (2, 1, 2, 2, 1)),
        ({"image_size": 64, "stages": 4, "stem_stride": 1}, (1, 1, 2, 2, 2)),
        ({"image_size": 64, "stages": 2, "full_stages": 2}, (2, 2, 2)),  # as small as two stages can make it
        ({"image_size": 28, "stages": 3, "stem_stride": 1}, (1, 1, 2, 2)),
        ({"image_size": 28, "stages": 3, "smallest_map": 2, "full_stages": 0}, (2, 2, 2, 1)),
        ({"image_size": 8, "stages": 2}, (2, 1, 1)),
        ({"image_size": 8, "stages": 2, "smallest_map": 5}, (1, 1, 1)),
    ],
)
def test_halvings_come_after_the_full_stages_while_the_map_is_large_enough(where, strides):
    late = {"stem_stride": 2, "full_stages": 1, "smallest_map": 4}
    assert strides_for(**{**late, **where}) == strides


def test_the_outputs_are_what_the_forward_pass_gives(config):
    student = build_student(config).eval()
    images = torch.rand(2, 3, 16, 16)
    outputs = student_outputs(student, images)
    assert torch.equal(outputs.logits, student(images))
    assert torch.equal(outputs.embedding, outputs.hints["stage2"].mean((2, 3)))
    assert torch.equal(outputs.logits, student.head(outputs.embedding))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_the_only_one_in_its_network(config, activation):
    student = build_student(varied(config, activation=activation))
    used = {type(layer) for layer in student.modules()} & set(ACTIVATIONS.values())
    assert used == {ACTIVATIONS[activation]}


def test_the_config_survives_json_and_determines_the_network(config):
    again = StudentConfig.model_validate_json(config.model_dump_json())
    assert again == config
    build_student(again).load_state_dict(build_student(config).state_dict())


def test_a_student_normalises_its_images_itself(config):
    student = build_student(config).eval()
    other = build_student(varied(config, mean=(0, 0, 0), std=(1, 1, 1))).eval()
    own = {key: tensor for key, tensor in student.state_dict().items() if key not in ("mean", "std")}
    other.load_state_dict(own, strict=False)
    images = torch.rand(2, 3, 16, 16)
    normalised = (images - torch.tensor(config.mean).view(3, 1, 1)) / torch.tensor(config.std).view(3, 1, 1)
    torch.testing.assert_close(student(images), other(normalised))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"family": "plane"}, "unknown family 'plane'; known: plain"),
        ({"options": {"kernal": 3}}, "kernal"),
        ({"options": {"kernel": 4}}, "kernel"),
        ({"strides": (1, 2)}, "2 depths need 3 strides"),
        ({"strides": (1, 2, 3)}, "strides"),
        ({"depths": (2, 0)}, "a stage needs a block"),
        ({"depths": (), "strides": (1,)}, "depths"),
        ({"activation": "gelu"}, "activation"),
    ],
)
def test_a_config_that_fits_no_network_is_refused(config, changes, said):
    with pytest.raises(ValidationError, match=said):
        varied(config, **changes)


def test_gray_and_colour_pixels_become_inputs_from_0_to_1():
    gray = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 4, 4)
    inputs = as_input(gray)
    assert inputs.shape == (3, 3, 4, 4)
    assert inputs.dtype == torch.float32
    torch.testing.assert_close(inputs[:, :, 0, 0], torch.tensor([[0.0] * 3, [0.2] * 3, [1.0] * 3]))
    colour = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    assert torch.equal((as_input(colour) * 255).round().to(torch.uint8), colour)


def test_students_train_in_channels_last_from_either_layout(config):
    student = build_student(config).to(memory_format=torch.channels_last)
    gray = as_input(torch.randint(0, 256, (4, 1, 16, 16), dtype=torch.uint8))
    for images in (gray, gray.contiguous(), gray.contiguous(memory_format=torch.channels_last)):
        maps = student.forward_features(images)
        assert all(last.is_contiguous(memory_format=torch.channels_last) for last in maps.values())


def test_bfloat16_autocast_reaches_the_logits(config):
    with torch.autocast("cpu", torch.bfloat16):
        outputs = student_outputs(build_student(config), torch.rand(2, 3, 16, 16))
    assert outputs.logits.dtype == torch.bfloat16
    assert outputs.logits.isfinite().all()


@pytest.mark.parametrize("around", AROUND, ids=str)
def test_the_source_of_the_skeleton_runs_with_torch_alone(config, around):
    config = varied(config, **around)
    scope = {"torch": torch, "Tensor": Tensor, "nn": nn}
    family = FAMILIES[config.family]
    for class_ in (family.block, Residual, SqueezeExcitation, StudentNet):
        exec(inspect.getsource(class_), scope)
    copied = scope["StudentNet"](scope[family.block.__name__], nn.ReLU, **config.arguments).eval()
    student = build_student(config).eval()
    copied.load_state_dict(student.state_dict())
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(copied(images), student(images))


def test_training_processes_get_students_and_losses_without_heavy_libraries(config):
    # sympy stands for what any run on the meta device brings along: a second and 150 MiB
    program = (
        "import sys\n"
        "from kdsearch.distill import LOSSES, objective\n"
        "from kdsearch.models import measure, published, student, weights, width\n"
        f"config = student.StudentConfig.model_validate_json({config.model_dump_json()!r})\n"
        "measure.macs_of(width.solve_width(config, 60_000), 16)\n"
        "heavy = {'torchvision', 'kornia', 'sklearn', 'mlflow', 'optuna', 'sympy', 'triton'}\n"
        "print(*sorted(heavy & sys.modules.keys()))\n"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).split() == []
