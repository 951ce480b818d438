"""A teacher of several networks, each of which has not seen one fold of the training images."""

from collections import defaultdict

import pytest
import torch
from torch import softmax
from torch.nn.modules.module import register_module_forward_pre_hook

from kdsearch.device import CPU
from kdsearch.errors import StudyFileError, TeacherError
from kdsearch.models.student import as_input
from kdsearch.models.teachers import Teacher
from kdsearch.progress import Silence
from kdsearch.run.views import builder_of
from kdsearch.store.runs import TEACHER, Run
from kdsearch.teachers.ready import check_teachers, prepare_teachers
from kdsearch.views.bank import ViewBank
from tests.networks import same

FOLDS = {"folds": 2}
PLAIN = {"crop": "none"}


@pytest.fixture
def shown():
    """The images that each Teacher has been shown in training and in evaluation, as the bytes of each."""
    seen = defaultdict(set)

    def see(module, inputs):
        if isinstance(module, Teacher):
            pixels = (inputs[0] * 255).round().byte()
            seen[id(module), module.training].update(image.numpy().tobytes() for image in pixels)

    handle = register_module_forward_pre_hook(see)
    yield seen
    handle.remove()


@pytest.fixture
def folded(study, sets, record):
    """A study's teachers, ready, and its first view."""

    def make(tmp_path, name="mine", progress=None, **tables):
        found = study(augmentation=PLAIN | tables.pop("augmentation", {}), **tables)
        ready = prepare_teachers(found, sets, record(name), CPU, progress or Silence())
        sizes = {name: {"embedding": each.network.shapes.embedding} for name, each in ready.items()}
        bank = ViewBank(folder=tmp_path / name, count=1, classes=10, teachers=sizes)
        builder_of(found, sets, bank, ready).build(0, Silence())
        return ready, bank.view(0)

    return make


def test_no_network_answers_for_an_image_that_it_was_trained_on(folded, tmp_path, shown, sets):
    everything = {image.numpy().tobytes() for image in as_input(sets.train.images).mul(255).round().byte()}
    ready, view = folded(tmp_path, teacher={"folds": 3})
    trained = [images for (_, training), images in shown.items() if training]
    networks = ready["teacher"].network.networks
    asked = [shown[id(network), False] for network in networks]
    assert len(trained) == len(asked) == 3
    assert set().union(*asked) == everything
    for learned, answered in zip(trained, asked, strict=True):
        assert learned | answered == everything
        assert not learned & answered
    fold = ready["teacher"].network.fold
    for number, network in enumerate(networks):
        rows = (fold == number).nonzero().flatten()
        again = network.answer(as_input(view.images[rows]))
        torch.testing.assert_close(
            view.answers["teacher"].logits[rows].float(), again.logits, rtol=1e-3, atol=1e-3
        )
        stored = view.answers["teacher"].embedding[rows].float()
        torch.testing.assert_close(stored, again.embedding, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_mixed_image_has_both_parts_in_one_fold_of_each_teacher(folded, tmp_path, kind):
    teachers = {"a": {"folds": 2}, "b": {"folds": 3}, "c": {}}
    ready, view = folded(tmp_path, teachers=teachers, augmentation={kind: 1.0})
    partner = view.mix.partner
    assert partner.sort().values.equal(torch.arange(40))
    assert (partner != torch.arange(40)).sum() > 20
    for name in "ab":
        network = ready[name].network
        assert network.fold[partner].equal(network.fold)
        asked = torch.cat(
            [
                network.networks[fold].answer(as_input(image[None])).logits
                for fold, image in zip(network.fold.tolist(), view.images, strict=True)
            ]
        )
        torch.testing.assert_close(view.answers[name].logits.float(), asked, rtol=1e-3, atol=1e-3)


def test_its_accuracy_is_that_of_the_mean_probability(prepare, sets):
    teacher, facts = prepare(epochs=2, **FOLDS)
    images = as_input(sets.validation.images)
    mean = torch.stack([softmax(each.answer(images).logits, 1) for each in teacher.networks]).mean(0)
    torch.testing.assert_close(teacher(images).logits, mean.log(), rtol=1e-4, atol=1e-4)
    assert facts.accuracy == (mean.argmax(1) == sets.validation.labels).float().mean().item()
    assert facts.origin == "trained, the mean of 2 folds' networks"
    assert facts.parameters == sum(parameter.numel() for parameter in teacher.parameters())


def test_the_record_has_every_network_and_all_their_epochs(prepare, record, shown, monkeypatch, tmp_path):
    teacher, facts = prepare(**FOLDS)
    assert [result.epoch for result in facts.curve] == [0, 1]
    assert record().epochs(Run(TEACHER, 0, 0)) == list(facts.curve)
    shown.clear()
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "another machine"))
    assert same(prepare(**FOLDS).network, teacher)
    assert not shown


def test_the_same_seed_makes_the_same_folds_and_networks(prepare, monkeypatch, tmp_path):
    made = []
    for number, seed in enumerate((0, 0, 1)):
        monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / str(number)))
        torch.rand(number + 1)
        made.append(prepare(f"study {number}", seed=seed, **FOLDS))
    assert made[0].facts.fingerprint == made[1].facts.fingerprint != made[2].facts.fingerprint
    assert not made[0].network.fold.equal(made[2].network.fold)
    assert not same(*made[0].network.networks)


def test_a_run_that_is_killed_between_folds_keeps_those_that_are_finished(prepare, monkeypatch, tmp_path):
    class Killed(Silence):
        def __init__(self, at=None):
            self.at, self.tasks = at, []

        def step(self, task, done, total, note=""):
            self.tasks.append(task)
            if task == self.at:
                raise KeyboardInterrupt

    first, rest = Killed("teacher, fold 2 of 2"), Killed()
    with pytest.raises(KeyboardInterrupt):
        prepare(progress=first, **FOLDS)
    assert set(first.tasks) == {"teacher, fold 1 of 2", "teacher, fold 2 of 2"}
    resumed = prepare(progress=rest, **FOLDS)
    assert set(rest.tasks) == {"teacher, fold 2 of 2"}
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "uninterrupted"))
    assert same(resumed.network, prepare("other", **FOLDS).network)


@pytest.mark.parametrize("loss", ["fitnet", "at", "sp", "rkd", "dm", "kl+rkd"])
def test_losses_that_compare_more_than_logits_are_refused(study, loss):
    with pytest.raises(StudyFileError) as refused:
        study(teacher=FOLDS, distillation={"loss": ["kl", loss]})
    name = loss.removeprefix("kl+")
    assert str(refused.value) == (
        f"mine.toml [teacher]: folds = 2: {name} reads embeddings or feature maps, which cannot be compared "
        f"between networks; drop {name} from distillation.loss, or leave folds out"
    )


def test_losses_on_logits_are_not(study):
    study(teacher=FOLDS, distillation={"loss": ["ce", "kl", "dkd", "dist"]})


@pytest.mark.parametrize(
    ("teacher", "line"),
    [
        (
            {"folds": 3, "checkpoint": "a.pt"},
            "folds = 3 trains networks, and checkpoint is one; give one of them",
        ),
        ({"folds": 1}, "folds = 1 leaves no images to train on; give at least 2, or 0 for one network"),
    ],
)
def test_what_folds_cannot_be_is_one_line(study, teacher, line):
    with pytest.raises(StudyFileError) as refused:
        study(teacher=teacher)
    assert str(refused.value) == f"mine.toml [teacher]: {line}"


def test_more_folds_than_a_class_has_images_are_refused_before_any_training(study, sets, shown):
    rarest = int(sets.train.labels.bincount().min())
    check_teachers(study(teacher={"folds": rarest}), sets, CPU, Silence())
    with pytest.raises(TeacherError) as refused:
        check_teachers(study(teacher={"folds": rarest + 1}), sets, CPU, Silence())
    assert str(refused.value).startswith(f"mine.toml [teacher] folds = {rarest + 1}: class ")
    assert f"has {rarest} different training images; give no more folds than that" in str(refused.value)
    assert not shown
