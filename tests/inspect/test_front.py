"""The front of made-up trials, and its files."""

from math import sqrt

import optuna
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import create_trial
from PIL import Image

from kdsearch.errors import KdsearchError, NothingFinishedError, UsageError
from kdsearch.inspect.front import front_of
from kdsearch.inspect.front_picture import draw, write_picture
from kdsearch.inspect.front_table import check_files, write_table
from kdsearch.store.facts import DataFacts, StudentFacts, TrialFacts, attributes_of, keep
from kdsearch.store.runs import SEARCH, Run

IMAGES = 400
PLAIN = {"family": "plain"}
GIVEN = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 12)), min_size=1, max_size=20)


def study_of(*trials, name="made", network=PLAIN):
    """A study of complete trials, each given by parameters, multiply-adds and number of right images."""
    study = optuna.create_study(study_name=name, direction="maximize")
    data = DataFacts(
        name="digits",
        fingerprint="f",
        train=1000,
        validation=IMAGES,
        classes=("a", "b"),
        image_size=8,
        channels=1,
    )
    keep(study, data=data, views=1, params={}, study={})
    for number, (parameters, macs, right) in enumerate(trials):
        student = StudentFacts(
            config={"student": network, "loss": "kl", "losses": {"kl": {}}}, parameters=parameters, macs=macs
        )
        facts = TrialFacts.of_run(Run(SEARCH, number, 0), student=student, val_loss=0.1)
        study.add_trial(create_trial(value=right / IMAGES, user_attrs=attributes_of(facts)))
    return study


@pytest.fixture(autouse=True)
def _quiet(quiet_optuna):
    pass


@given(GIVEN, st.sampled_from(["parameters", "macs"]))
def test_the_front_has_each_trial_that_no_smaller_or_equally_large_one_beats(trials, by):
    found = front_of(study_of(*trials), by)
    sized = [(trial[by == "macs"], trial[2] / IMAGES) for trial in trials]
    unbeaten = {
        (size, accuracy)
        for size, accuracy in sized
        if not any(
            other <= size and better >= accuracy and (other, better) != (size, accuracy)
            for other, better in sized
        )
    }
    points = [(getattr(row, by), row.accuracy) for row in found.points]
    assert points == sorted(unbeaten)
    assert sorted(row.trial for row in found.rows) == list(range(len(trials)))
    for row in found.rows:
        assert (row.parameters, row.macs, round(IMAGES * row.accuracy)) == trials[row.trial]


def test_a_trial_that_has_no_student_or_was_stopped_is_not_there():
    study = study_of((10, 10, 200))
    pruned = create_trial(
        state=optuna.trial.TrialState.PRUNED,
        value=None,
        user_attrs={**study.trials[0].user_attrs, "slot": 1},
    )
    study.add_trial(pruned)
    study.add_trial(create_trial(value=1.0))
    assert [row.trial for row in front_of(study, "macs").rows] == [0]


def is_noise(right, other):
    """Whether 0 lies in the interval of the gain, one right and one wrong image added to each count."""
    one, two = (right + 1) / (IMAGES + 2), (other + 1) / (IMAGES + 2)
    deviation = sqrt(one * (1 - one) / (IMAGES + 2) + two * (1 - two) / (IMAGES + 2))
    return one - two <= 1.959964 * deviation


@given(st.lists(st.integers(0, IMAGES), min_size=1, max_size=12, unique=True))
def test_a_gain_over_the_largest_smaller_unmarked_point_that_chance_explains_is_marked(rights):
    rights = sorted(rights)
    points = front_of(study_of(*((10 + n, 10, right) for n, right in enumerate(rights))), "parameters").points
    marked = [row.noise for row in points]
    assert not marked[0]
    for at in range(1, len(points)):
        sure = max(index for index in range(at) if not marked[index])
        assert marked[at] == is_noise(rights[at], rights[sure])


def test_small_steps_add_up_to_a_gain_that_is_none_of_noise():
    rights = [300, 305, 310, 315, 320, 325]  # 325 of 400 are more than 300 by 2.1 standard errors
    points = front_of(study_of(*((10 + n, 10, right) for n, right in enumerate(rights))), "parameters").points
    assert [row.noise for row in points] == [False, True, True, True, True, False]


def test_an_accuracy_has_wilsons_interval():
    (row,) = front_of(study_of((10, 10, 380)), "parameters").rows
    z, share = 1.959964, 0.95
    centre = (share + z**2 / (2 * IMAGES)) / (1 + z**2 / IMAGES)
    half = z / (1 + z**2 / IMAGES) * sqrt(share * (1 - share) / IMAGES + z**2 / (4 * IMAGES**2))
    assert (row.low, row.high) == pytest.approx((centre - half, centre + half), abs=1e-6)
    assert row.half_width == pytest.approx(half, abs=1e-6)


def test_a_published_network_is_a_family():
    assert front_of(study_of((10, 10, 9), network={"network": "s4"}), "macs").rows[0].family == "s4"


def test_a_study_without_a_complete_trial_has_no_front():
    with pytest.raises(NothingFinishedError, match="study 'made' has no finished trial to show yet"):
        front_of(study_of(), "parameters")


TRIALS = (20, 500, 300), (30, 400, 310), (30, 300, 200), (90, 900, 390)


def test_the_table_has_all_complete_trials(tmp_path):
    front = front_of(study_of(*TRIALS, network={"family": 'a,"b"\n'}), "parameters")
    write_table(front, tmp_path / "front.csv")
    table = pd.read_csv(tmp_path / "front.csv")
    assert table.to_dict("records") == [row.model_dump() for row in front.rows]
    assert list(table[table.front].trial) == [0, 1, 3]
    assert list(table[table.noise].trial) == [1]


@pytest.mark.parametrize("name", ["made", "食物 a$b$c \x1b[31m"])
def test_the_picture_is_one(tmp_path, name):
    write_picture(front_of(study_of(*TRIALS, name=name), "parameters"), tmp_path / "front.png")
    with Image.open(tmp_path / "front.png") as picture:
        picture.load()
        assert picture.format == "PNG"
        assert picture.size == (1200, 750)
        assert len(picture.convert("RGB").getcolors(2**20)) > 20


@pytest.mark.parametrize(
    ("by", "label", "scale", "front"),
    [("parameters", "parameters", "linear", [20, 30, 90]), ("macs", "multiply-adds", "log", [3, 400])],
)
def test_the_picture_shows_the_front_over_all_trials(by, label, scale, front):
    trials = (20, 500, 300), (30, 400, 310), (30, 3, 200), (90, 400, 390)
    (axes,) = draw(front_of(study_of(*trials, name="a$b$"), by)).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == (label, "validation accuracy")
    assert (axes.get_title(), axes.get_xscale()) == ("a$b$", scale)
    (cloud,) = (each for each in axes.collections if len(each.get_offsets()) == len(trials))
    assert {tuple(at) for at in cloud.get_offsets()} == {(t[by == "macs"], t[2] / IMAGES) for t in trials}
    (step,) = (line for line in axes.lines if line.get_drawstyle() == "steps-post")
    assert list(step.get_xdata()) == [*front, max(trial[by == "macs"] for trial in trials)]
    hollow = [
        list(line.get_xdata())
        for line in axes.lines
        if line.get_marker() == "o" and line.get_markerfacecolor() == "white"
    ]
    assert hollow == ([[30]] if by == "parameters" else [])


def test_a_file_that_cannot_be_written_is_named_with_its_option(tmp_path):
    front = front_of(study_of(*TRIALS), "parameters")
    for write, option in ((write_table, "--csv"), (write_picture, "--png")):
        with pytest.raises(KdsearchError, match=rf"^{option} .*gone/file: cannot be written \(No such file"):
            write(front, tmp_path / "gone" / "file")


def test_a_folder_of_another_user_is_refused(shared_folder, without_privileges):
    shared_folder.chmod(0o555)
    with (
        without_privileges(),
        pytest.raises(UsageError, match=r"cannot be written to \(Permission denied\); let --png name"),
    ):
        check_files(None, shared_folder / "front.png", force=True)
