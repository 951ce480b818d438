import pytest

from kdsearch.errors import StudyFileError
from kdsearch.study.file import Study, load_study
from kdsearch.study.shipped import shipped

SPACE = """
[student]
family = ["plain", "dwsep"]
stages = 3
[distillation]
loss = ["ce", "kl"]
[[first]]
"""


@pytest.mark.parametrize(
    "lines",
    [
        '"student.family" = "dwsep"\n"training.learning_rate" = 0.002\n"student.stages" = 3',
        'student.family = "dwsep"\ntraining.learning_rate = 0.002',
    ],
)
def test_a_hand_written_trial_holds_what_is_sampled_and_reads_back(study, lines):
    found = study(SPACE + lines)
    assert found.first == [{"student.family": "dwsep", "training.learning_rate": 0.002}]
    assert Study(found.tables, "again").tables == found.tables


@pytest.mark.parametrize(
    ("line", "answer"),
    {
        'student.famly = "dwsep"': "unknown parameter 'student.famly'; known, nearest first: student.family",
        'family = "dwsep"': "unknown parameter 'family'; known, nearest first: student.family",
        'student.family = "fire"': "student.family = 'fire': the study searches plain | dwsep; give one of",
        "student.stages = 4": "student.stages = 4: the study fixes it at 3; drop the line",
        "student.depth_1 = 9": "student.depth_1 = 9: the study searches 1 to 3; give one of these values",
        "student.depth_1 = 1.5": "student.depth_1 = 1.5: the study searches 1 to 3; give one of these values",
        "fire.ratio = 0.25": "fire.ratio: this study does not list 'fire'; list it or drop the line",
    }.items(),
)
def test_a_mistake_is_one_line(study, line, answer):
    with pytest.raises(StudyFileError) as told:
        study(SPACE + line)
    assert str(told.value).startswith(f"mine.toml [first, number 1]: {answer}")
    assert "\n" not in str(told.value)


def test_it_is_tables(study):
    with pytest.raises(StudyFileError, match=r"^mine\.toml: first = 3: must be tables, \[\[first\]\]$"):
        study("first = 3")


def test_a_hand_written_trial_that_a_replaced_value_rules_out_is_left_out(study):
    text = SPACE + 'student.family = "dwsep"\n[[first]]\nstudent.depth_1 = 1'
    assert study(text, **{"student.family": "plain"}).first == [{"student.depth_1": 1}]
    assert study(text).replace("student.depth_1", 2).first == [{"student.family": "dwsep"}]
    with pytest.raises(StudyFileError, match=r"unknown parameter 'student\.famly'"):
        study(SPACE + "student.famly = 1", **{"student.family": "plain"})


@pytest.mark.parametrize("name", ["digits", "food11", "cifar10", "fashion-mnist", "wide"])
def test_each_shipped_search_begins_with_a_hand_written_network(name):
    assert name in shipped()
    found = load_study(name, {})
    losses = [trial["distillation.loss"] for trial in found.first]
    assert losses == (["ce", "kl"] if name == "digits" else ["kl"] * len(losses) or None)
