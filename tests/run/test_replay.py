"""A trial that is trained again: the same numbers, or the first that differs; and the study as it was."""

import hashlib
import math
from functools import partial

import pytest
from optuna.trial import TrialState

from kdsearch.database import open_engine
from kdsearch.errors import UsageError
from kdsearch.progress import Silence
from kdsearch.run.replay import replay
from kdsearch.run.replaying import replay as replay_in_processes
from kdsearch.store.facts import trial_facts
from kdsearch.store.replayed import Change, Difference, changes, difference
from kdsearch.store.trials import Trials
from tests import databases


@pytest.fixture
def trained(create, worker):
    """The small study with three trained trials."""
    study = create(3)
    worker().work()
    return study


@pytest.fixture
def again(worker):
    """Replays a trial in this process, as a worker of it trained it."""

    def train(study, number, **options):
        return replay(Trials.of(study)[number], worker().bench, Silence(), **options)

    return train


@pytest.fixture
def change(url):
    """Changes the database behind everybody's back."""

    def execute(statement):
        engine = open_engine(url)
        with engine.begin() as connection:
            assert connection.exec_driver_sql(statement).rowcount == 1
        engine.dispose()

    return execute


@pytest.fixture
def content(url):
    return partial(databases.content, url)


def test_every_trial_has_the_same_numbers_again_and_the_study_stays_as_it_was(trained, again, content):
    before = content()
    found = [again(trained, number) for number in range(3)]
    assert [(each.equal, each.compared, each.epochs) for each in found] == [(True, 3, 3)] * 3
    assert [(each.first_difference, each.surroundings, each.weights) for each in found] == [
        (None, {}, None)
    ] * 3
    assert content() == before


@pytest.mark.parametrize("field", ["train_loss", "val_loss", "val_accuracy", "learning_rate"])
def test_the_first_number_that_differs_is_named(trained, again, change, field):
    change(f"UPDATE kdsearch_epochs SET {field} = {field} + 0.125 WHERE place = 1 AND epoch = 1")
    found = again(trained, 1)
    assert (found.equal, found.compared, found.epochs) == (False, 2, 3)
    wrong = found.first_difference
    assert (wrong.epoch, wrong.field) == (1, field)
    assert wrong.recorded - wrong.replayed == pytest.approx(0.125)
    assert again(trained, 0).equal


def test_a_part_of_the_loss_counts_too(trained, again, change):
    change("""UPDATE kdsearch_epochs SET parts = '{"ce": 7.0}' WHERE place = 0 AND epoch = 0""")
    found = again(trained, 0).first_difference
    assert (found.epoch, found.field, found.recorded) == (0, "parts.ce", 7.0)


def test_the_smallest_difference_is_one(trained, worker):
    run = trial_facts(trained.trials[0]).run
    result = worker().bench.record.epochs(run)[0]
    above = math.nextafter(result.val_loss, 9)
    other = result.model_copy(update={"val_loss": above, "seconds": 1e9})
    named = Difference(epoch=0, field="val_loss", recorded=result.val_loss, replayed=above)
    assert difference(result, other) == named
    broken = result.model_copy(update={"val_loss": math.nan, "parts": {"ce": math.nan}})
    assert difference(broken, broken.model_copy(update={"val_loss": float("nan")})) is None


def test_a_pruned_trial_is_trained_up_to_its_last_recorded_epoch(create, worker, again, content):
    study = create(1, training={"learning_rate": 1e30})
    worker().work()
    diverged = study.trials[0]
    assert diverged.state == TrialState.PRUNED
    before = content()
    found = again(study, 0, keep=True)
    assert (found.equal, found.epochs, found.weights) == (True, diverged.last_step + 1, "left")
    assert found.epochs < trial_facts(diverged).student.epochs
    assert content() == before


def test_lost_weights_come_back_to_the_byte_and_nothing_else_changes(trained, worker, again, content):
    record, run = worker().bench.record, trial_facts(trained.trials[1]).run
    before = content()
    weights = hashlib.sha256(record.file(run.weights)).hexdigest()
    assert again(trained, 1, keep=True).weights == "there"
    record.delete_file(run.weights)
    assert again(trained, 1).weights is None
    assert record.file(run.weights) is None
    assert again(trained, 1, keep=True).weights == "stored"
    assert hashlib.sha256(record.file(run.weights)).hexdigest() == weights
    after = content()
    assert sorted(after.pop("kdsearch_files")) == sorted(before.pop("kdsearch_files"))
    assert after == before


def test_weights_of_other_numbers_are_not_kept(trained, worker, again, change):
    record, run = worker().bench.record, trial_facts(trained.trials[1]).run
    record.delete_file(run.weights)
    change("UPDATE kdsearch_epochs SET val_loss = 9 WHERE place = 1 AND epoch = 2")
    found = again(trained, 1, keep=True)
    assert (found.equal, found.weights) == (False, "left")
    assert record.file(run.weights) is None


def test_a_trial_without_an_epoch_or_an_unknown_one_is_a_mistake(trained, url):
    trained._storage.create_new_trial(trained._study_id)  # which runs
    trained.enqueue_trial({})
    for number, line in {
        3: r"trial 3 of study 'small' has no recorded epoch to replay \(running\)",
        4: r"trial 4 of study 'small' has no recorded epoch to replay \(waiting\)",
        5: "study 'small' has no trial 5; its trials are 0 to 4",
    }.items():
        with pytest.raises(UsageError, match=line):
            replay_in_processes(number, None, {"run.storage": url}, Silence())


def test_what_differs_around_a_trial_is_named_package_by_package():
    before = {"versions": "python==3.12.1 torch==2.11.0", "device": "cpu", "threads": "1", "commit": "a"}
    now = {**before, "versions": "python==3.12.1 torch==2.12.0", "device": "NVIDIA H100"}
    assert changes(before, now) == {
        "torch": Change(recorded="2.11.0", now="2.12.0"),
        "device": Change(recorded="cpu", now="NVIDIA H100"),
    }
    assert changes({}, now) == {}
