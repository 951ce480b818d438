"""The options that replace values of a study file, and the dict that they become."""

import pytest

from kdsearch.cli import main
from kdsearch.cli.options import parse_setting
from kdsearch.errors import StudyFileError
from kdsearch.study.file import load_study

OPTIONS = {
    "--trials 7": {"run.trials": 7},
    "--finalists 0": {"finalists.count": 0},
    "--workers 2": {"run.workers": "2"},
    "--seed 3": {"seed": 3},
    "--device cpu": {"run.device": "cpu"},
    "--data here": {"data.path": "here"},
    "--storage sqlite:///x.db": {"run.storage": "sqlite:///x.db"},
    "--tracking-uri http://h:1": {"run.tracking_uri": "http://h:1"},
    "--name other": {"name": "other"},
    "--no-prune": {"search.pruner": "none"},
    "--set seed=4 --set training.epochs=2 --set seed=5": {"seed": 5, "training.epochs": 2},
}


def values(command, words):
    """What the command is called with for these options, after its arguments."""
    return main.commands[command].make_context(command, ["digits", *words.split()]).params["values"]


@pytest.mark.parametrize(("words", "expected"), OPTIONS.items())
def test_each_option_replaces_the_value_at_its_key(words, expected):
    assert values("run", words) == expected
    study = load_study("digits", expected)
    for key, value in expected.items():
        table, _, last = key.rpartition(".")
        assert (study.tables[table] if table else study.tables)[last] == value


@pytest.mark.parametrize("command", ["run", "init", "worker", "train"])
def test_without_options_nothing_is_replaced(command):
    assert values(command, "") == {}


def test_the_storage_of_a_study_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("KDSEARCH_STORAGE", "sqlite:///there.db")
    assert values("run", "") == {"run.storage": "sqlite:///there.db"}


@pytest.mark.parametrize("words", ["--seed 3 --set seed=4", "--set seed=4 --seed 3"])
def test_an_option_wins_over_set_wherever_it_stands(words):
    assert values("run", words) == {"seed": 3}


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
