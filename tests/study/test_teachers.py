"""Several teachers in a study file."""

from kdsearch.config import Choices
from kdsearch.study.file import Study

COMMON = {"epochs": 7, "patience": 2}


def study(teachers, **distillation):
    return Study({"teacher": COMMON, "teachers": teachers, "distillation": distillation}, "mine.toml")


def test_a_study_without_tables_of_teachers_has_the_one_and_samples_none():
    made = Study({"teacher": COMMON}, "mine.toml")
    assert {name: teacher.epochs for name, teacher in made.teachers.items()} == {"teacher": 7}
    assert made.distillation.possible("teacher") == ("teacher",)
    assert "distillation.teacher" not in made.parameters()


def test_what_a_table_leaves_out_is_taken_from_the_common_one():
    made = study({"b": {"model": "vgg11_bn", "head": [64]}, "a": {"epochs": 9}})
    a, b = made.teachers.values()
    assert (a.model, a.epochs, a.patience) == ("resnet18", 9, 2)
    assert (b.model, b.head, b.epochs) == ("vgg11_bn", (64,), 7)


def test_which_teacher_is_a_choice_among_all_where_nothing_is_said():
    made = study({"b": {}, "a": {}})
    assert made.distillation.searched["teacher"] == Choices(("a", "b"))
    assert made.parameters()["distillation.teacher"] == "choice"


def test_one_teacher_or_an_average_may_be_all_there_is():
    assert study({"a": {}}).distillation.fixed["teacher"] == "a"
    assert study({"a": {}, "b": {}}, teacher="a+b").distillation.fixed["teacher"] == "a+b"


def test_the_order_of_the_tables_means_nothing_and_a_resolved_study_is_the_same():
    one = study({"a": {}, "b": {"epochs": 3}}, teacher=["a", "a+b"])
    other = study({"b": {"epochs": 3}, "a": {}}, teacher=["a", "a+b"])
    again = Study(one.tables, "mine.toml")
    assert list(one.teachers.items()) == list(other.teachers.items()) == list(again.teachers.items())
    assert one.tables == other.tables == again.tables
