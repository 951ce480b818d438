import inspect

import pytest

from kdsearch import errors
from kdsearch.errors import (
    DataError,
    IdentityError,
    KdsearchError,
    ReportedError,
    StoppedError,
    StudyFileError,
    TeacherError,
    UsageError,
)

CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_every_error_is_one_that_the_user_can_mend(error):
    assert issubclass(error, KdsearchError)
    assert error.__doc__


@pytest.mark.parametrize("error", [UsageError, StudyFileError, IdentityError, DataError, TeacherError])
def test_what_was_not_even_started_exits_with_two(error):
    assert error("x").exit_code == 2


def test_a_signal_exits_as_shells_do():
    assert StoppedError("stopped", 2).exit_code == 130
    assert StoppedError("stopped", 15).exit_code == 143


def test_a_child_s_error_keeps_its_exit_code():
    assert ReportedError("no such file", 2).exit_code == 2
    assert str(ReportedError("no such file", 2)) == "no such file"
    assert KdsearchError("x").exit_code == 1
