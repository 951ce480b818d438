import pytest

from kdsearch.errors import StudyFileError
from kdsearch.study.setting import parse_setting


@pytest.mark.parametrize(
    ("text", "value"),
    {
        "training.epochs=20": 20,
        "training.epochs = 20": 20,
        "training.learning_rate=1e-3": 1e-3,
        'student.family=["plain", "dwsep"]': ["plain", "dwsep"],
        "student.growth={ low = 1.0, high = 2.0 }": {"low": 1.0, "high": 2.0},
        "data.skip_corrupt=true": True,
        'teacher.model="resnet34"': "resnet34",
        "teacher.model=resnet34": "resnet34",
        "data.path=/a=b": "/a=b",
        "name=": "",
    }.items(),
)
def test_a_value_is_toml_or_else_text(text, value):
    assert parse_setting(text) == (text.partition("=")[0].strip(), value)


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000])
def test_a_value_that_toml_gives_up_on_is_one_line(value):
    with pytest.raises(StudyFileError, match=r"^--set seed: not a value of TOML \("):
        parse_setting(f"seed={value}")


@pytest.mark.parametrize("text", ["training.epochs", "=20", "", " = 3"])
def test_what_sets_nothing_is_told_the_form(text):
    with pytest.raises(StudyFileError, match=r"write table\.key=value, as in --set training\.epochs=20$"):
        parse_setting(text)
