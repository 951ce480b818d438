import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torchvision import models

from kdsearch.cache import SUMS
from kdsearch.engine.evaluate import evaluate
from kdsearch.errors import IdentityError, KdsearchError, TeacherError
from kdsearch.models.student import as_input
from kdsearch.models.teachers import Teacher, build_teacher
from kdsearch.models.weights import from_bytes
from kdsearch.places import cache_root
from kdsearch.progress import Silence
from kdsearch.store.runs import TEACHER, Run
from kdsearch.teachers.ready import check_teachers, prepare_teachers
from kdsearch.teachers.taught import FACTS, WEIGHTS, answer

CPU = torch.device("cpu")
MODEL = "mobilenet_v3_small"


class Steps(Silence):
    def __init__(self):
        self.told = []

    def step(self, task, done, total, note=""):
        self.told.append((task, done, total, note))


@pytest.fixture
def prepare(study, sets, record):
    def run(name="mine", seed=0, progress=None, **teacher):
        found = study(seed=seed, teacher=teacher)
        return prepare_teachers(found, sets, record(name), CPU, progress or Silence())["teacher"]

    return run


@pytest.fixture
def answers():
    """The images that a Teacher has answered to since the test began."""
    seen = []

    def see(module, inputs):
        if isinstance(module, Teacher):
            seen.append(len(inputs[0]))

    handle = register_module_forward_pre_hook(see)
    yield seen
    handle.remove()


@pytest.fixture
def torchvision_net(sets):
    """A network with torchvision's own keys, for `classes` classes."""

    def make(classes=10, model=MODEL):
        torch.manual_seed(5)
        return build_teacher(model, classes, 8, *sets.train.mean_std()).net

    with torch.random.fork_rng():
        yield make


def same(one, other):
    return all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_it_is_trained_once_and_then_never_run_again(prepare, answers):
    teacher, facts = prepare()
    assert sum(answers) >= 40 + 288  # an epoch, and its validation
    answers.clear()
    again, same_facts = prepare()
    assert answers == []
    assert same_facts == facts
    assert same(again, teacher)


def test_a_study_in_which_nobody_learns_from_it_has_none(study, sets, record, answers):
    alone = study(distillation={"loss": "ce"})
    assert prepare_teachers(alone, sets, record(), CPU, Silence()) == {}
    assert answers == []


def test_a_second_study_finds_it_in_the_cache(prepare, answers, record):
    teacher, facts = prepare()
    answers.clear()
    other, other_facts = prepare("other")
    assert answers == []
    assert other_facts == facts
    assert same(other, teacher)
    assert record("other").epochs(Run(TEACHER, 0, 0)) == list(facts.curve)


@pytest.fixture
def cached():
    """The teacher's entry in the cache."""

    def find():
        (found,) = (path for path in (cache_root() / "teachers").iterdir() if not path.name.startswith("."))
        return found

    return find


@pytest.mark.parametrize("name", [WEIGHTS, FACTS, SUMS])
def test_a_damaged_one_reaches_no_study_and_is_trained_again(prepare, damage, name, cached, heard):
    teacher, facts = prepare()
    damage(cached() / name)
    other, other_facts = prepare("other", progress=heard)
    (line,) = heard.said
    assert line.startswith(f"{cached()}/")
    assert "damaged (" in line
    assert "\n" not in line
    assert same(other, teacher)
    assert (other_facts.fingerprint, other_facts.accuracy) == (facts.fingerprint, facts.accuracy)


def test_room_for_it_is_looked_for_before_it_is_trained(prepare, answers, monkeypatch):
    """What is free is asked of the system, once: here it is what a teacher takes, less a little."""
    free = shutil.disk_usage(Path.cwd())
    monkeypatch.setattr("shutil.disk_usage", lambda path: free._replace(free=2**21))
    with pytest.raises(
        KdsearchError, match=r"teachers: \d+ MiB too little free disk for the cache; .*KDSEARCH_CACHE"
    ):
        prepare()
    assert answers == []


def test_another_machine_reads_it_from_the_record(prepare, answers, monkeypatch, tmp_path):
    teacher, _ = prepare()
    answers.clear()
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "empty"))
    assert same(prepare()[0], teacher)
    assert answers == []


def test_its_facts_are_those_of_its_weights(prepare, sets, record):
    teacher, facts = prepare(epochs=3)
    assert (facts.model, facts.origin) == (MODEL, "trained")
    assert facts.parameters == sum(parameter.numel() for parameter in teacher.parameters())
    score = evaluate(teacher, answer, sets.validation.images, sets.validation.labels)
    assert facts.accuracy == score.accuracy == max(result.val_accuracy for result in facts.curve)
    assert record().epochs(Run(TEACHER, 0, 0)) == list(facts.curve)
    assert from_bytes(record().file(WEIGHTS)).keys() == teacher.state_dict().keys()


def test_of_two_machines_that_train_it_at_once_the_curve_is_that_of_the_weights_that_are_kept(
    prepare, record, monkeypatch, tmp_path
):
    """Stopped early or not, on another type of machine: here, by other numbers of epochs."""

    class Meddler(Silence):
        first = None

        def step(self, task, done, total, note=""):
            if self.first is None:
                self.first = True
                self.first = prepare(epochs=1, learning_rate=1e-2).facts

    meddler = Meddler()
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "another machine"))
    slower = prepare(epochs=3, progress=meddler).facts
    assert slower == meddler.first
    assert len(slower.curve) == 1
    assert record().epochs(Run(TEACHER, 0, 0)) == list(slower.curve)


def test_several_teachers_are_each_trained_kept_and_told_apart(study, sets, record, answers):
    several = study(teachers={"b": {"head": [16]}, "a": {}, "c": {}})
    ready = prepare_teachers(several, sets, record(), CPU, Silence())
    assert list(ready) == ["a", "b", "c"]
    assert ready["b"].network.shapes.embedding == 16
    assert not same(ready["a"].network, ready["c"].network)  # the same settings, other weights
    for place, name in enumerate(ready):
        assert (
            from_bytes(record().file(f"{name}.safetensors")).keys() == ready[name].network.state_dict().keys()
        )
        assert record().epochs(Run(TEACHER, place, 0)) == list(ready[name].facts.curve)
    answers.clear()
    again = prepare_teachers(several, sets, record(), CPU, Silence())
    assert answers == []
    assert all(same(again[name].network, ready[name].network) for name in ready)


def test_what_is_wrong_with_any_teacher_is_said_before_one_is_trained(study, sets, record, answers):
    missing = study(teachers={"a": {}, "b": {"checkpoint": "gone.pt"}})
    with pytest.raises(TeacherError, match=r"gone\.pt: no such file"):
        check_teachers(missing, sets, CPU, Silence())
    check_teachers(missing, sets, CPU, Silence(), ["a"])
    tables = {"distillation": {"loss": "at"}, "losses": {"at": {"teacher_layer": "layer9"}}}
    with pytest.raises(TeacherError, match=r"teacher_layer: mobilenet_v3_small has no 'layer9'"):
        prepare_teachers(study(teachers={"a": {}, "b": {}}, **tables), sets, record(), CPU, Silence())
    small = study(teachers={"a": {"allow_smaller": True}, "b": {}}, budget={"max_params": 9_000_000})
    with pytest.raises(TeacherError, match=r"\[teachers\.b\] model: .* fewer than budget\.max_params"):
        prepare_teachers(small, sets, record(), CPU, Silence())
    assert answers == []


def test_it_is_frozen_and_in_evaluation_mode(prepare):
    teacher, _ = prepare()
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_the_same_seed_trains_the_same_teacher(prepare, monkeypatch, tmp_path):
    prints = []
    for number, seed in enumerate((0, 0, 1)):
        monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / str(number)))
        torch.rand(number + 1)
        prints.append(prepare(f"study {number}", seed=seed)[1].fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_it_stops_early_and_its_progress_ends(prepare):
    steps = Steps()
    _, facts = prepare(epochs=50, patience=1, learning_rate=1e-9, progress=steps)
    assert len(facts.curve) < 50
    assert steps.told[0][:3] == ("teacher", 0, 50)
    assert steps.told[-1][:3] == ("teacher", 50, 50)
    assert steps.told[-1][3] == f"validation accuracy {facts.accuracy:.2%}"


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
    assert sum(answers) == 288  # its accuracy


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


def test_an_unknown_network_gets_the_nearest_name(prepare):
    with pytest.raises(TeacherError, match=r"'resnet19'.*nearest first: resnet1"):
        prepare(model="resnet19")


def test_a_teacher_smaller_than_a_student_may_be_is_refused_unless_the_study_says_so(
    study, sets, record, answers
):
    tables = {"budget": {"max_params": 2_000_000}}
    with pytest.raises(
        TeacherError,
        match=r"mobilenet_v3_small has 1,\d+,\d+ parameters, fewer than budget.max_params = 2,000,000; ",
    ):
        prepare_teachers(study(**tables), sets, record(), CPU, Silence())
    assert answers == []
    allowed = study(teacher={"allow_smaller": True}, **tables)
    ready = prepare_teachers(allowed, sets, record(), CPU, Silence())
    assert ready["teacher"].facts.parameters < 2_000_000


def test_a_pretrained_teacher_is_trained_on_from_there_and_its_file_is_needed_once(
    prepare, study, monkeypatch, tmp_path, sets
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    for ask in (prepare, lambda **teacher: check_teachers(study(teacher=teacher), sets, CPU, Silence())):
        with pytest.raises(TeacherError, match=r"\[teacher\] pretrained: cannot download"):
            ask(pretrained=True)
    url = models.get_model_weights(MODEL).DEFAULT.url
    path = tmp_path / "torch" / "hub" / "checkpoints" / Path(url).name
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        net = models.get_model(MODEL, weights=None)
    torch.save(net.state_dict(), path)
    teacher, facts = prepare(pretrained=True, learning_rate=1e-9, weight_decay=0.0)
    torch.testing.assert_close(teacher.net.features[0][0].weight, net.features[0][0].weight)
    assert teacher.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert facts.origin == "trained from torchvision's weights"
    path.unlink()
    assert same(prepare(pretrained=True, learning_rate=1e-9, weight_decay=0.0)[0], teacher)
    assert same(prepare("other", pretrained=True, learning_rate=1e-9, weight_decay=0.0)[0], teacher)
