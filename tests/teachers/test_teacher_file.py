"""A teacher from a file: a checkpoint of torchvision's network, of kdsearch's own, or a pretrained one."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from kdsearch.device import CPU, has_bfloat16
from kdsearch.errors import IdentityError, TeacherError
from kdsearch.models.student import as_input
from kdsearch.progress import Silence
from kdsearch.teachers.ready import check_teachers
from kdsearch.teachers.taught import WEIGHTS
from tests.networks import same


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {"epoch": 3, "state_dict": weights},
        lambda weights: {"model": {f"module.{key}": tensor for key, tensor in weights.items()}},
    ],
    ids=["plain", "nested", "nested and prefixed"],
)
def test_it_is_read_from_a_checkpoint_of_torchvision_s_network(
    prepare, torchvision_net, tmp_path, wrap, answers
):
    net = torchvision_net()
    torch.save(wrap(net.state_dict()), tmp_path / "teacher.ckpt")
    teacher, facts = prepare(checkpoint=str(tmp_path / "teacher.ckpt"))
    assert same(teacher.net, net)
    assert (facts.origin, facts.curve) == ("teacher.ckpt", ())
    assert sum(answers) == 288 * (1 + has_bfloat16(CPU))  # its accuracy, in bfloat16 too


def test_half_precision_will_do(prepare, torchvision_net, tmp_path, sets):
    net = torchvision_net()
    torch.save(net.half().state_dict(), tmp_path / "half.pt")
    teacher, _ = prepare(checkpoint=str(tmp_path / "half.pt"))
    assert {tensor.dtype for tensor in teacher.parameters()} == {torch.float32}
    assert same(teacher.net, net.float())
    assert teacher(as_input(sets.validation.images[:3])).logits.shape == (3, 10)


def test_a_teacher_that_kdsearch_trained_is_a_checkpoint_too(prepare, record, tmp_path):
    teacher, facts = prepare()
    (tmp_path / "own.safetensors").write_bytes(record().file(WEIGHTS))
    again, read = prepare("other", checkpoint=str(tmp_path / "own.safetensors"))
    assert same(again, teacher)
    assert (read.accuracy, read.fingerprint) == (facts.accuracy, facts.fingerprint)


def test_other_classes_are_named(prepare, torchvision_net, tmp_path):
    torch.save(torchvision_net(classes=11).state_dict(), tmp_path / "eleven.pt")
    with pytest.raises(TeacherError, match=r"eleven\.pt: has 11 classes, the data has 10$"):
        prepare(checkpoint=str(tmp_path / "eleven.pt"))


def test_another_network_is_named(prepare, tmp_path):
    torch.save(nn.Linear(3, 10).state_dict(), tmp_path / "linear.pt")
    with pytest.raises(TeacherError, match=r"linear\.pt: not this network: lacks "):
        prepare(checkpoint=str(tmp_path / "linear.pt"))


def test_a_checkpoint_that_is_missing_is_named(prepare, tmp_path):
    with pytest.raises(TeacherError, match=r"gone\.pt: no such file"):
        prepare(checkpoint=str(tmp_path / "gone.pt"))


def test_the_study_s_own_checkpoint_is_accepted_again_and_not_run(
    prepare, torchvision_net, tmp_path, answers
):
    path = tmp_path / "teacher.pt"
    torch.save(torchvision_net().state_dict(), path)
    first = prepare(checkpoint=str(path))
    answers.clear()
    assert prepare(checkpoint=str(path))[1] == first[1]
    path.unlink()
    assert prepare(checkpoint=str(path))[1] == first[1]
    assert prepare()[1] == first[1]
    assert answers == []


def test_another_checkpoint_than_the_study_s_is_refused(prepare, torchvision_net, tmp_path):
    net = torchvision_net()
    torch.save(net.state_dict(), tmp_path / "one.pt")
    prepare(checkpoint=str(tmp_path / "one.pt"))
    with torch.no_grad():
        next(net.parameters()).add_(1)
    torch.save(net.state_dict(), tmp_path / "other.pt")
    with pytest.raises(
        IdentityError, match=r"other\.pt: not the teacher that study 'mine' was created with; .*--name"
    ):
        prepare(checkpoint=str(tmp_path / "other.pt"))


def test_a_pretrained_teacher_is_trained_on_from_there_and_its_file_is_needed_once(
    prepare, study, monkeypatch, tmp_path, sets
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    for ask in (prepare, lambda **teacher: check_teachers(study(teacher=teacher), sets, CPU, Silence())):
        with pytest.raises(TeacherError, match=r"\[teacher\] pretrained: cannot download"):
            ask(pretrained=True)
    url = models.get_model_weights("mobilenet_v3_small").DEFAULT.url
    path = tmp_path / "torch" / "hub" / "checkpoints" / Path(url).name
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        net = models.get_model("mobilenet_v3_small", weights=None)
    torch.save(net.state_dict(), path)
    teacher, facts = prepare(pretrained=True, learning_rate=1e-9, weight_decay=0.0)
    torch.testing.assert_close(teacher.net.features[0][0].weight, net.features[0][0].weight)
    assert teacher.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert facts.origin == "trained from torchvision's weights"
    path.unlink()
    assert same(prepare(pretrained=True, learning_rate=1e-9, weight_decay=0.0)[0], teacher)
    assert same(prepare("other", pretrained=True, learning_rate=1e-9, weight_decay=0.0)[0], teacher)
