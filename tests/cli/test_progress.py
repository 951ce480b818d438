"""Progress on standard error: lines, bars, silence."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from kdsearch.cli import display_progress
from kdsearch.progress import Silence, Standing


def test_progress_that_is_no_terminal_is_lines_on_standard_error(capsys):
    with display_progress.watching(quiet=False) as watch:
        watch.step("teacher", 0, 3)
        watch.standing(standing(1, target=2))
        watch.say("hello [not markup]")
    assert capsys.readouterr() == ("", "teacher 0/3\ntrials 1/2 0 pruned, 0 failed\nhello [not markup]\n")


def test_quiet_progress_is_silence():
    with display_progress.watching(quiet=True) as watch:
        assert isinstance(watch, Silence)


def standing(finished, target=100, failed=0, best=None):
    return Standing(target, finished, 0, failed, 1, best, None, None)


@pytest.fixture
def lines():
    """Lines on a clock of the test's own; what was said, and the clock's hand."""
    now = [1000.0]
    told = io.StringIO()
    return display_progress.Lines(Console(file=told, width=200), lambda: now[0]), told, now


def test_lines_say_beginning_and_end_and_now_and_then(lines):
    watch, told, now = lines
    for done in range(101):
        watch.step("decode", done, 100)
        now[0] += 0.1
    said = told.getvalue().splitlines()
    assert said[0] == "decode 0/100"
    assert said[-1] == "decode 100/100"
    assert len(said) == 3 + int(100 * 0.1 / display_progress.PLAIN_SECONDS) - 2


def test_lines_say_nothing_twice_of_trials(lines):
    watch, told, now = lines
    for finished in (0, 0, 1, 1, 2, 2):
        watch.standing(standing(finished, target=2, best=0.5 if finished else None))
        now[0] += display_progress.PLAIN_SECONDS + 1
    assert told.getvalue().splitlines() == [
        "trials 0/2 0 pruned, 0 failed",
        "trials 1/2 0 pruned, 0 failed, best 50.00 %",
        "trials 2/2 0 pruned, 0 failed, best 50.00 %",
    ]


def test_lines_leave_views_out(lines):
    watch, told, _ = lines
    watch.step("view 1 of 8", 0, 10)
    assert told.getvalue() == ""


def test_bars_show_pruned_failed_best_rate_and_time_left():
    console = Console(file=io.StringIO(), force_terminal=True, width=200, height=20)
    progress = Progress(*Progress.get_default_columns(), console=console)
    watch = display_progress.Bars(progress)
    watch.step("view 1 of 8", 8, 8)
    watch.standing(Standing(100, 20, 10, 1, 2, 0.95, 360.0, 700.0))
    trials, view = progress.tasks[watch.tasks["trials"]], progress.tasks[watch.tasks["view 1 of 8"]]
    assert (trials.completed, trials.total) == (30, 100)
    assert trials.fields["note"] == "10 pruned, 1 failed, best 95.00 %, 360 an hour, 0:11:40 left"
    assert not view.visible
