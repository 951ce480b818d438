"""Networks of timm as teachers; nothing here reaches the hub."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import linear

from kdsearch.errors import TeacherError
from kdsearch.models.teachers import build_teacher
from kdsearch.tables import IMAGENET

timm = pytest.importorskip("timm")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.1)
SMALL = "timm:mobilenetv3_small_050"


def teacher(name=SMALL, image_size=64, classes=11, **more):
    return build_teacher(name, classes, image_size, MEAN, STD, **more)


@pytest.fixture
def weights(tmp_path):
    """A file with the weights of a network of timm's, and the network."""

    def make(name, classes=1000, **sized):
        torch.manual_seed(3)
        net = timm.create_model(name, num_classes=classes, **sized)
        path = tmp_path / f"{name}.safetensors"
        save_file(net.state_dict(), path)
        return str(path), net

    with torch.random.fork_rng():
        yield make


@pytest.mark.parametrize(
    ("name", "image_size", "hints"),
    [
        (SMALL, 64, ["bn1", "blocks.0", "blocks.1", "blocks.3", "blocks"]),
        ("timm:resnet18", 32, ["act1", "layer1", "layer2", "layer3", "layer4"]),
        ("timm:vit_tiny_patch16_224", 64, ["patch_embed.proj"]),
        ("timm:convnext_atto.d2_in1k", 64, ["stages.0", "stages.1", "stages.2", "norm_pre"]),
    ],
)
def test_it_hands_out_the_same_as_a_network_of_torchvisions(name, image_size, hints):
    made = teacher(name, image_size)
    assert made.training
    made.watch_hints()
    answer = made.answer(torch.rand(2, 3, image_size, image_size))
    last = [layer for layer in made.net.modules() if isinstance(layer, nn.Linear)][-1]
    assert made.net.get_submodule(made.head) is last
    assert torch.equal(answer.logits, linear(answer.embedding, last.weight, last.bias))
    assert answer.logits.shape == (2, 11)
    assert answer.embedding.shape == (2, made.shapes.embedding)
    assert {path: tuple(hint.shape[1:]) for path, hint in answer.hints.items()} == made.shapes.hints
    assert list(made.shapes.hints) == hints
    assert made.mean.flatten().tolist() == pytest.approx(MEAN)


def test_hidden_layers_come_before_the_last_one():
    made = teacher(head=(32, 16))
    assert made.shapes.embedding == 16
    widths = [layer.out_features for layer in made.net.classifier if isinstance(layer, nn.Linear)]
    assert widths == [32, 16, 11]


@pytest.mark.parametrize("classes", [1000, 7])
def test_a_file_gives_all_weights_but_the_head_and_the_networks_own_normalisation(weights, classes):
    path, net = weights("tf_efficientnet_lite0", classes)
    made = teacher("timm:tf_efficientnet_lite0", origin=path)
    theirs = net.state_dict()
    for key, tensor in made.net.state_dict().items():
        assert key.startswith("classifier.") or torch.equal(tensor, theirs[key]), key
    assert made.net.classifier.out_features == 11
    assert made.mean.flatten().tolist() == made.std.flatten().tolist() == [0.5] * 3


def test_weights_for_another_image_size_are_fitted_to_this_one(weights):
    path, net = weights("vit_tiny_patch16_224")
    made = teacher("timm:vit_tiny_patch16_224", 64, origin=path).net
    assert torch.equal(made.blocks[3].mlp.fc1.weight, net.blocks[3].mlp.fc1.weight)
    assert made.pos_embed.shape[1] == 4 * 4 + 1


@pytest.mark.parametrize("other", ["mobilenetv3_small_075", "resnet18", "vit_tiny_patch16_224"])
def test_weights_of_another_network_are_refused_in_one_line(weights, other):
    path, _ = weights(other)
    with pytest.raises(TeacherError) as error:
        teacher(origin=path)
    told = str(error.value)
    assert told.startswith(f"{path}: not weights of mobilenetv3_small_050: ")
    assert told.endswith("; set [teacher] model to the network that the file is of")
    assert "\n" not in told


def test_a_file_that_lacks_a_layer_is_refused(weights):
    path, net = weights("mobilenetv3_small_050")
    whole = net.state_dict()
    del whole["blocks.1.0.conv_pw.weight"]
    save_file(whole, path)
    with pytest.raises(TeacherError, match=r"not weights of .*: .*Missing key.*blocks\.1\.0\.conv_pw"):
        teacher(origin=path)


def test_a_name_that_does_not_exist_gets_the_nearest():
    with pytest.raises(TeacherError, match=r"unknown 'timm:resnet81'; known, nearest first: timm:resnet18, "):
        teacher("timm:resnet81")
    with pytest.raises(TeacherError, match=r"weights 'timm:resnet18\.a9_in1k'; .*timm:resnet18\.a1_in1k"):
        teacher("timm:resnet18.a9_in1k")


def test_without_timm_the_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(TeacherError, match=r'timm is not installed here; pip install "kdsearch\[timm\]"'):
        teacher()


def test_networks_that_do_not_fit_are_refused():
    with pytest.raises(TeacherError, match="distilled_patch16_224 does not end in one linear layer"):
        teacher("timm:deit_tiny_distilled_patch16_224")
    with pytest.raises(TeacherError, match="inception_v3 cannot read images of 64 x 64"):
        teacher("timm:inception_v3")


def test_a_machine_without_the_hub_is_told_what_to_do(tmp_path):
    made = f"build_teacher({SMALL!r}, 5, 64, {MEAN}, {STD}, origin={IMAGENET!r})"
    program = f"from kdsearch.models.teachers import build_teacher; {made}"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert "TeacherError: " in last
    assert "pretrained: cannot download model.safetensors of timm/" in last
