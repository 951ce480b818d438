import shutil
from pathlib import Path

import pytest
import torch

from kdsearch.cache import SUMS
from kdsearch.device import CPU
from kdsearch.engine.evaluate import evaluate
from kdsearch.errors import KdsearchError, TeacherError
from kdsearch.files import cache_root
from kdsearch.models.weights import from_bytes
from kdsearch.progress import Silence
from kdsearch.store.runs import TEACHER, Run
from kdsearch.teachers.ready import check_teachers, prepare_teachers
from kdsearch.teachers.taught import FACTS, WEIGHTS, answer
from tests.networks import same

MODEL = "mobilenet_v3_small"


class Steps(Silence):
    def __init__(self):
        self.told = []

    def step(self, task, done, total, note=""):
        self.told.append((task, done, total, note))


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


def test_a_teacher_sees_no_smaller_images_than_a_student_and_hints_come_from_equal_ones(
    study, sets, answers, heard
):
    small = study(teacher={"image_size": 4})
    with pytest.raises(TeacherError, match=r"^mine\.toml \[teacher\] image_size = 4: below the student's 8"):
        check_teachers(small, sets, CPU, Silence())
    hints = {"distillation": {"loss": ["kl", "at"]}}
    with pytest.raises(TeacherError, match=r"^mine\.toml \[teacher\] image_size = 16: at reads feature"):
        check_teachers(study(teacher={"image_size": 16}, **hints), sets, CPU, Silence())
    check_teachers(study(teacher={"image_size": 8}, **hints), sets, CPU, Silence())
    check_teachers(study(teacher={"image_size": 16}), sets, CPU, heard)
    assert heard.said == [
        "teacher mobilenet_v3_small: its images are enlarged from 8 to 16 pixels; if the files have more, "
        "give data.source_size = 16"
    ]
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
