from math import prod

import pytest

from kdsearch.models.student import build_student
from kdsearch.study.architecture import Architecture
from kdsearch.study.distillation import loss_names


def test_a_stage_that_is_not_there_has_no_depth():
    architecture = Architecture(stages=2, depth_1=3, depth_2=2, depth_3=3)
    assert architecture.depths == (3, 2)
    drawn = {"stages": 2, "family": "plain", "shortcut": "none"}
    active = [field for field in Architecture.model_fields if Architecture.is_active(field, drawn)]
    assert "depth_2" in active
    assert "depth_3" not in active
    assert "growth" in active


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
@pytest.mark.parametrize("image_size", [8, 28, 64, 128])
def test_its_student_can_be_built_for_every_image_that_is_large_enough(stages, image_size):
    config = Architecture(stages=stages).student({}, classes=7, image_size=image_size)
    assert config.width == 1
    assert len(config.depths) == stages
    assert 2 * prod(config.strides) <= image_size
    assert build_student(config).head.out_features == 7


def test_cross_entropy_alone_is_no_loss():
    assert loss_names("ce") == ()
    assert loss_names("kl") == ("kl",)
    assert loss_names("kl+rkd") == ("kl", "rkd")


@pytest.mark.parametrize(
    ("family", "shortcut", "active"),
    [
        ("plain", "none", {"shortcut", "excitation"}),
        ("plain", "pool", {"shortcut", "excitation", "scale"}),
        ("inverted", "none", set()),  # its options have both
        ("xception", "pool", {"excitation"}),
    ],
)
def test_what_a_family_has_itself_is_not_put_around_it(family, shortcut, active):
    drawn = {"stages": 2, "family": family, "shortcut": shortcut}
    around = ("shortcut", "excitation", "scale")
    assert {field for field in around if Architecture.is_active(field, drawn)} == active
    architecture = Architecture(family=family, shortcut=shortcut, excitation=True, scale=True)
    student = architecture.student({}, 5, 32)
    assert (student.shortcut != "none", student.excitation, student.scale) == (
        "shortcut" in active and shortcut != "none",
        "excitation" in active,
        "scale" in active,
    )
