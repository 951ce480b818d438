"""The same command again."""

import shutil

import pytest

from kdsearch.errors import ReportedError


@pytest.fixture
def finished(undisturbed, small):
    """The study with all its three trials, in a folder of its own."""
    shutil.copytree(undisturbed.folder, small.folder, dirs_exist_ok=True)
    return small


def test_a_finished_study_says_so_and_a_larger_target_extends_it_without_the_teacher(finished, undisturbed):
    assert undisturbed.summary.finished == 3
    summary, watched = finished.run(None)
    assert summary.notes == ("3 of 3 finished; --trials 103 adds 100",)
    assert watched.tasks == set()
    assert finished.finished == undisturbed.finished

    summary, watched = finished.run(4)
    assert (summary.finished, summary.notes) == (4, ())
    assert watched.tasks == set(), "a teacher's epoch, or a view's images"
    assert finished.finished.items() >= undisturbed.finished.items()


def test_other_settings_are_refused_before_anything_is_trained(finished):
    finished.write(epochs=41)
    with pytest.raises(ReportedError, match=r"training.epochs \(40 before, 41 now\)") as stop:
        finished.run(4)
    assert stop.value.exit_code == 2
    assert len(finished.study.trials) == 3
