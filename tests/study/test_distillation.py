"""The feature maps that losses ask for, whatever their settings are called."""

from typing import Annotated

import pytest
from pydantic import Field

from kdsearch.config import Choices, Record
from kdsearch.distill import LOSSES
from kdsearch.distill.loss import StudentLayer, TeacherLayer
from kdsearch.errors import StudyFileError, TeacherError
from kdsearch.study.distillation import check_layers, check_student_layers
from kdsearch.study.file import Study
from kdsearch.study.space import Place, read_space

PLACE = Place("mine.toml", "losses.odd")
HINTS = {"layer1": (8, 4, 4), "layer2": (16, 2, 2)}


class Odd(Record):
    """Settings of a loss that calls its layers otherwise than all others."""

    ours: StudentLayer = "middle"
    theirs: Annotated[TeacherLayer, Choices.of("middle", "last")] = "middle"
    deeper: TeacherLayer = "last"
    teacher_layer: Annotated[int, Field(ge=1)] = 1  # of something else


class NoLayer(Record):
    """Settings of a loss that takes the last map, always."""


def test_each_setting_that_names_a_teacher_s_map_is_checked():
    check_layers("odd", read_space(PLACE, {"theirs": ["layer1", "last"]}, Odd), HINTS, "resnet18")
    for table, field in (({"theirs": ["middle", "layer3"]}, "theirs"), ({"deeper": "layer3"}, "deeper")):
        line = rf"^\[losses\.odd\] {field}: resnet18 has no 'layer3'; known: middle, last, layer1, layer2$"
        with pytest.raises(TeacherError, match=line):
            check_layers("odd", read_space(PLACE, table, Odd), HINTS, "resnet18")


@pytest.mark.parametrize("record", [Odd, NoLayer])
def test_a_teacher_without_maps_is_refused(record):
    with pytest.raises(TeacherError, match=r"^\[losses\.odd\]: vit has no feature maps; choose another"):
        check_layers("odd", read_space(PLACE, {}, record), {}, "vit")


def test_each_setting_that_names_a_student_s_map_is_checked():
    check_student_layers(PLACE, read_space(PLACE, {"ours": "stage2"}, Odd), ["stem", "stage1", "stage2"])
    with pytest.raises(StudyFileError, match=r"\[losses\.odd\]: ours = 'stage2': not every student has it"):
        check_student_layers(PLACE, read_space(PLACE, {"ours": "stage2"}, Odd), ["stem", "stage1"])


def test_the_losses_that_read_maps_are_those_that_say_so(monkeypatch):
    class Reader(LOSSES["kl"]):
        reads = frozenset({"hints"})
        Config = NoLayer

    monkeypatch.setitem(LOSSES, "kl", Reader)
    tables = {"distillation": {"loss": ["ce", "kl", "dkd", "sp"], "teacher": ["a+b"]}}
    assert Study({"distillation": {"loss": ["ce", "kl", "dkd", "sp"]}}, "").hint_losses == ("kl", "sp")
    with pytest.raises(StudyFileError, match=r"teacher = 'a\+b': kl reads a feature map, which an average"):
        Study({**tables, "teachers": {"a": {}, "b": {}}}, "mine.toml")


@pytest.mark.parametrize("loss", LOSSES.values())
def test_text_in_the_settings_of_a_loss_that_reads_maps_names_a_layer(loss):
    texts = [field for field in loss.Config.model_fields.values() if field.annotation is str]
    marks = [[mark.network for mark in field.metadata if hasattr(mark, "network")] for field in texts]
    assert sorted(marks) == ([["student"], ["teacher"]] if "hints" in loss.reads else [])
