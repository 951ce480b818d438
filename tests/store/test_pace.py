from datetime import datetime, timedelta

import pytest
from optuna.trial import TrialState, create_trial

from kdsearch.store import liveness
from kdsearch.store.facts import TrialFacts, attributes_of
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.status import rate_of, status

EVENING = datetime(2026, 11, 26, 18)  # noqa: DTZ001  as Optuna has it


def trial(start, minutes, number=0, state=TrialState.COMPLETE, **attributes):
    """A trial that began `start` minutes after EVENING."""
    made = create_trial(
        state=state,
        value=0.5 if state == TrialState.COMPLETE else None,
        user_attrs=attributes_of(TrialFacts.of_run(Run(SEARCH, number, 0))) | attributes,
    )
    made.number = number
    made.datetime_start = EVENING + timedelta(minutes=start)
    made.datetime_complete = None if minutes is None else made.datetime_start + timedelta(minutes=minutes)
    return made


def per_hour(trials):
    return pytest.approx(rate_of(trials) * 3600)


def test_one_worker_s_trials_follow_each_other():
    assert per_hour([trial(10 * n, 10) for n in range(5)]) == 6


def test_the_trials_of_three_workers_are_side_by_side():
    assert per_hour([trial(10 * (n // 3), 10) for n in range(12)]) == 18


def test_a_night_between_two_runs_is_no_work():
    evening = [trial(10 * n, 10) for n in range(3)]
    morning = [trial(12 * 60 + 10 * n, 10) for n in range(3)]
    assert per_hour(evening + morning) == 6


def test_the_seconds_between_two_trials_are_part_of_the_work():
    assert per_hour([trial(n * 10.5, 10) for n in range(8)]) == 8 / (10.5 * 7 + 10) * 60


def test_an_old_machine_s_trials_are_forgotten_after_twenty():
    assert per_hour([trial(n * 60, 60) for n in range(9)] + [trial(900 + n, 1) for n in range(20)]) == 60


@pytest.mark.parametrize("trials", [[], [trial(0, 10)], [trial(0, 0), trial(0, 0)], [trial(0, None)] * 3])
def test_too_little_is_no_rate(trials):
    assert rate_of(trials) is None


def mark_running(study, worker):
    """Marks the study's last trial as one that this worker runs; returns its id."""
    identifier = study.trials[-1]._trial_id
    study._storage.set_trial_user_attr(identifier, "worker", worker.model_dump())
    return identifier


@pytest.fixture
def searched(create):
    """A study with six finished trials of ten minutes each, one that died four times, and foreign ones."""
    study = create(10)
    student = {"config": {"student": {"family": "plain"}, "loss": "ce"}, "parameters": 1, "macs": 1}
    for n in range(6):
        study.add_trial(trial(10 * n, 10, n, student=student))
    for _ in range(4):
        study.add_trial(trial(60, 1, 6, TrialState.FAIL, mark="lost"))
    study.add_trial(create_trial(value=0.9))
    return study


def test_a_study_on_which_nobody_works_has_no_rate_and_no_time_left(searched):
    told = status(searched, "")
    assert (told.workers, told.per_hour, told.seconds_left) == (0, None, None)


def test_a_trial_that_died_too_often_has_failed_and_a_foreign_one_does_not_count(searched):
    told = status(searched, "")
    assert (told.finished, told.complete, told.failed) == (6, 6, 1)
    assert told.best.accuracy == 0.5


def test_trials_without_a_slot_and_failed_ones_are_none_of_the_rate(searched):
    searched.add_trial(trial(70, None, 7, TrialState.RUNNING))
    mark_running(searched, liveness.this_worker(len(searched.trials) - 1))
    assert status(searched, "").per_hour == pytest.approx(6)


def test_while_somebody_works_there_is_a_rate_and_a_time_left(searched):
    searched.add_trial(trial(70, None, 7, TrialState.RUNNING))
    mark_running(searched, liveness.this_worker(len(searched.trials) - 1))
    told = status(searched, "")
    assert told.workers == 1
    assert told.per_hour == pytest.approx(6)
    assert told.seconds_left == pytest.approx(4 * 600)


def test_a_worker_elsewhere_that_has_been_silent_for_long_is_none(searched):
    """Its machine has crashed: its trial is RUNNING for ever unless another worker comes."""
    searched.add_trial(trial(70, None, 7, TrialState.RUNNING))
    there = {"processes": "another machine", "host": "another"}
    elsewhere = liveness.this_worker(len(searched.trials) - 1).model_copy(update=there)
    identifier = mark_running(searched, elsewhere)
    searched._storage.record_heartbeat(identifier)
    assert status(searched, "").workers == 1
    with searched._storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = '2026-01-01 00:00:00'")
    assert status(searched, "").workers == 0
