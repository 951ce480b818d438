"""A study with one value changed is a study of its own, checked like the first."""

import pytest

from kdsearch.errors import StudyFileError
from kdsearch.study.file import SETTINGS, Study, load_study


@pytest.fixture
def study():
    teachers = {"small": {}, "large": {"model": "resnet34"}}
    return Study({"name": "pets", "seed": 3, "teachers": teachers}, "mine.toml")


@pytest.mark.parametrize(
    ("key", "value"),
    {
        "seed": 4,
        "data.path": "/elsewhere",
        "run.workers": "2",
        "student.network": ["searched", "s4"],
        "training.learning_rate": {"low": 0.01, "high": 0.1, "log": False},
        "losses.kl.temperature": 2.0,
        "teachers.large.epochs": 9,
    }.items(),
)
def test_only_the_value_is_another(study, key, value):
    before, changed = study.tables, study.replace(key, value).tables
    *path, last = key.split(".")
    for part in path:
        assert {k: v for k, v in changed.items() if k != part} == {
            k: v for k, v in before.items() if k != part
        }
        before, changed = before[part], changed[part]
    assert changed == {**before, last: value}
    assert before[last] != value  # and the first study stays as it was


def test_it_reads_as_the_file_with_that_value_does(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('name = "pets"\n[student]\nfamily = "fire"\n')
    replaced = load_study(str(file), {}).replace("student.network", ["searched", "s4"])
    read = load_study(str(file), {"student.network": ["searched", "s4"]})
    assert (replaced.name, set(replaced.families)) == ("pets", {"fire"})
    assert (replaced.tables, replaced.parameters()) == (read.tables, read.parameters())


def test_a_whole_table_can_be_another(study):
    table = {**study.teachers["small"].model_dump(), "checkpoint": "small.pt"}
    changed = study.replace("teachers.small", table)
    assert changed.teachers["small"].checkpoint == "small.pt"
    assert changed.teachers["large"] == study.teachers["large"]
    assert changed.replace("run", {"trials": 7}).run.trials == 7


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("training.epochs", 0, "[training]: epochs = 0: must be greater than or equal to 1"),
        (
            "budget.max_prams",
            5,
            "[budget]: unknown key 'max_prams'; known, nearest first: max_params, max_macs",
        ),
        (
            "teachers.small.pretrained",
            1,
            '[teachers.small]: pretrained = 1: must be true, false, "imagenet", or the path of a file',
        ),
        (
            "distillation.teacher",
            "small",
            "[teachers.large]: distillation.teacher does not list 'large'; list it or drop the table",
        ),
    ],
)
def test_what_does_not_fit_is_the_error_that_the_file_would_be(study, key, value, line):
    with pytest.raises(StudyFileError) as error:
        study.replace(key, value)
    assert (str(error.value), error.value.exit_code) == (f"mine.toml {line}", 2)


def test_every_table_of_settings_is_an_attribute(study):
    assert {name: type(getattr(study, name)) for name in SETTINGS} == SETTINGS
    assert {name: getattr(study, name).model_dump() for name in SETTINGS} == {
        name: study.tables[name] for name in SETTINGS
    }
