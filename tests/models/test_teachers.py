import pytest
import torch
from torch import nn
from torchvision import models

from kdsearch.errors import TeacherError
from kdsearch.models.heads import replace_head
from kdsearch.models.measure import count_parameters
from kdsearch.models.pretrained import UNFIT, teacher_names
from kdsearch.models.teachers import build_teacher, hint_shapes, keep_size

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.1)


def teacher(name="resnet18", classes=11, image_size=64):
    return build_teacher(name, classes, image_size, MEAN, STD)


def test_resnet18_keeps_torchvisions_keys():
    made = teacher(image_size=128)
    assert made.net.state_dict().keys() == models.resnet18().state_dict().keys()


@pytest.mark.parametrize(
    ("name", "head", "parameters"),
    [
        ("resnet18", (), 11_182_155),
        ("vgg16_bn", (4096, 1024, 128), 121_815_627),
        ("vgg11_bn", (2048, 512), 61_662_987),
    ],
)
def test_the_published_teachers_have_their_exact_size(name, head, parameters):
    with torch.device("meta"):
        made = build_teacher(name, 11, 128, MEAN, STD, head=head)
    assert count_parameters(made) == parameters
    assert made.shapes.embedding == (head or (512,))[-1]


@pytest.mark.parametrize(
    "name", ["resnet18", "convnext_tiny", "mobilenet_v3_small", "densenet121", "swin_t", "maxvit_t"]
)
def test_a_deeper_head_stands_in_for_all_of_the_classifier(name):
    with torch.device("meta"):
        net = models.get_model(name, weights=None)
        bare = models.get_model(name, weights=None)
        assert replace_head(net, 11, (32, 16)).embedding == 16
        replace_head(bare, 11)
        image = torch.rand(2, 3, 224, 224)
        answer = net.eval()(image)
    assert (answer.logits.shape, answer.embedding.shape) == ((2, 11), (2, 16))
    place = [path for path, layer in bare.named_modules() if isinstance(layer, nn.Linear)][-1].split(".")[0]
    kept = {key for key in bare.state_dict() if not key.startswith(f"{place}.")}
    assert kept <= net.state_dict().keys()
    linear = [layer for layer in net.get_submodule(place).modules() if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in linear] == [32, 16, 11]


@pytest.mark.parametrize(
    ("name", "image_size"),
    [
        ("resnet18", 8),
        ("resnet18", 64),
        ("vgg11_bn", 32),
        ("mobilenet_v2", 8),
        ("mobilenet_v3_small", 28),
        ("shufflenet_v2_x0_5", 28),
        ("mnasnet0_5", 64),
        ("efficientnet_b0", 32),
        ("regnet_y_400mf", 32),
        ("densenet121", 32),
    ],
)
def test_the_embedding_is_the_input_of_the_last_linear_layer(name, image_size):
    made = teacher(name, image_size=image_size).eval()
    images = torch.rand(2, 3, image_size, image_size)
    answer = made.answer(images)
    last = [layer for layer in made.net.modules() if isinstance(layer, nn.Linear)][-1]
    assert answer.logits.shape == (2, made.shapes.classes) == (2, 11)
    assert answer.embedding.shape == (2, made.shapes.embedding) == (2, last.in_features)
    linear = nn.functional.linear(answer.embedding, last.weight, last.bias)
    assert torch.equal(answer.logits, linear)
    assert answer.hints == {}


def test_every_name_ends_in_a_linear_layer_that_is_its_last_operation():
    for name in ("vit_b_16", "swin_t", "convnext_tiny", "maxvit_t", "alexnet", "wide_resnet50_2"):
        assert name in teacher_names()
        with torch.device("meta"):
            net = models.get_model(name, weights=None)
            width = replace_head(net, 11).embedding
        head = [layer for layer in net.modules() if isinstance(layer, nn.Linear)][-1]
        assert (head.in_features, head.out_features) == (width, 11)
    assert not UNFIT & set(teacher_names())


def test_small_images_get_a_stem_that_keeps_their_size():
    small, large = teacher(image_size=63).net, teacher(image_size=64).net
    assert small.conv1.weight.shape == (64, 3, 3, 3)
    assert large.conv1.weight.shape == (64, 3, 7, 7)
    images = torch.rand(1, 3, 32, 32)
    assert small.maxpool(small.conv1(images)).shape == (1, 64, 32, 32)
    assert large.maxpool(large.conv1(images)).shape == (1, 64, 8, 8)


def test_other_networks_lose_their_first_halving_and_keep_their_keys():
    for name, first in (
        ("mobilenet_v2", lambda net: net.features[0]),
        ("densenet121", lambda net: net.features.conv0),
    ):
        net = teacher(name, image_size=32).net
        assert first(net)(torch.rand(1, 3, 32, 32)).shape[2:] == (32, 32)
        assert net.state_dict().keys() == models.get_model(name, weights=None).state_dict().keys()


def test_a_network_that_pools_first_keeps_its_size_too():
    halving = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.MaxPool2d(2))
    keep_size(halving)
    assert halving(torch.rand(1, 3, 32, 32)).shape == (1, 4, 16, 16)


def test_a_teacher_normalises_its_images_itself():
    made = teacher(image_size=8)
    plain = build_teacher("resnet18", 11, 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    plain.net.load_state_dict(made.net.state_dict())
    images = torch.rand(2, 3, 8, 8)
    normalised = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(made.answer(images).logits, plain.answer(normalised).logits)


def test_a_teacher_trains():
    made = teacher(image_size=8)
    assert made.training
    made(torch.rand(4, 3, 8, 8)).logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(TeacherError, match=r"unknown 'resnet81'; known, nearest first: resnet18, "):
        teacher("resnet81")
    with pytest.raises(TeacherError, match="unknown 'googlenet'"):
        teacher("googlenet")


@pytest.mark.parametrize(("name", "image_size"), [("vgg11_bn", 8), ("vit_b_16", 64)])
def test_a_network_that_cannot_read_such_images_is_refused(name, image_size):
    with pytest.raises(TeacherError, match=rf"{name} cannot read images of {image_size} x {image_size}"):
        teacher(name, image_size=image_size)


@pytest.mark.parametrize(
    ("name", "size", "paths"),
    [
        ("resnet18", 64, ["relu", "layer1", "layer2", "layer3", "layer4"]),
        ("vgg11_bn", 64, [*(f"features.{number}" for number in (2, 6, 13, 20, 27)), "features"]),
        ("convnext_tiny", 64, ["features.1", "features.3", "features.5", "features"]),
        ("efficientnet_b0", 64, [*(f"features.{number}" for number in (1, 2, 3, 5)), "features"]),
        ("mobilenet_v3_small", 64, [*(f"features.{number}" for number in (0, 1, 3, 8)), "features"]),
        ("vit_b_16", 224, ["conv_proj"]),
    ],
)
def test_hints_are_what_whole_blocks_put_out(name, size, paths):
    with torch.device("cpu"):
        found = hint_shapes(models.get_model(name, weights=None), name, size)
    assert list(found) == paths
    heights = [shape[1] for shape in found.values()]
    assert heights == sorted(set(heights), reverse=True)
