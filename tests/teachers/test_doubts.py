import pytest
import torch

from kdsearch.data.image_set import ImageSet, SearchSets
from kdsearch.store.facts import TeacherFacts
from kdsearch.teachers.doubts import linear_accuracy, outdone, weak


def facts(accuracy):
    return TeacherFacts(model="resnet18", origin="trained", parameters=9, accuracy=accuracy, fingerprint="0")


def test_a_linear_model_of_the_pixels_learns_the_digits(sets):
    assert 0.5 < linear_accuracy(sets) < 0.95  # of 40 images


def test_of_noise_it_knows_the_largest_class():
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (60, 1, 8, 8), generator=random, dtype=torch.uint8)
    labels = (torch.arange(60) % 3 == 0).long()
    noise = ImageSet(images, labels, ("often", "seldom"))
    assert linear_accuracy(SearchSets(noise, noise, "", 0, folder=None)) >= 2 / 3


def test_a_teacher_no_better_than_that_is_named_with_the_ways_out(sets):
    (line,) = weak({"teacher": facts(0.3)}, sets)
    assert line.startswith(
        "teacher resnet18: its validation accuracy, 30.00%, is no better than that of a linear"
    )
    assert "pretrained" in line
    assert "\n" not in line
    assert weak({"teacher": facts(0.99)}, sets) == []
    assert weak({}, sets) == []


@pytest.mark.parametrize(("student", "said"), [(0.585, True), (0.53, False), (0.2, False)])
def test_so_is_one_that_a_student_beats_clearly(student, said):
    lines = outdone({"large": facts(0.528), "good": facts(0.9)}, student)
    assert len(lines) == said
    assert all(line.startswith("teacher large (resnet18): its validation accuracy, 52.80%") for line in lines)
