"""kdsearch's own median pruner at work: a trial beside ten that ended before it."""

import pytest
from optuna.trial import TrialState, create_trial

from kdsearch.epoch import EpochResult
from kdsearch.phases.samplers import STARTUP_TRIALS, warmup_epochs
from kdsearch.store.facts import StudentFacts, TrialFacts, attributes_of, trial_facts
from kdsearch.store.runs import SEARCH, Run

EPOCHS = 6
STUDENT = StudentFacts(config={}, parameters=1, macs=1)


def finish(study, record, place, accuracy):
    """A trial that had this validation accuracy after each of its epochs."""
    run = Run(SEARCH, place, 0)
    for epoch in range(EPOCHS):
        facts = {"train_loss": 1, "parts": {}, "val_loss": 1, "learning_rate": 0.1, "images_per_second": 1}
        facts |= {"epoch": epoch, "val_accuracy": accuracy, "seconds": 1, "finished_at": 1}
        record.epoch(run, EpochResult(**facts))

    study.add_trial(
        create_trial(
            value=accuracy,
            user_attrs=attributes_of(TrialFacts.of_run(run, student=STUDENT)),
        )
    )


@pytest.fixture
def beside(create, worker):
    """The trial that a worker runs beside `count` others of this accuracy, and how many epochs it trained."""

    def search(accuracy, count=STARTUP_TRIALS):
        study = create(
            count + 1,
            search={"sampler": "random", "pruner": "median", "audit": 0.0},
            training={"epochs": EPOCHS},
        )
        made = worker()
        for place in range(count):
            finish(study, made.bench.record, place, accuracy)
        made.work()
        trial = study.trials[-1]
        assert trial_facts(trial).run == Run(SEARCH, count, 0)
        return trial, len(made.bench.record.epochs(trial_facts(trial).run))

    return search


def test_a_trial_below_the_median_is_pruned_once_its_warm_up_is_over(beside):
    trial, trained = beside(1.0)
    assert (trial.state, trained) == (TrialState.PRUNED, warmup_epochs(EPOCHS) + 1)


def test_a_trial_above_the_median_runs_to_its_end(beside):
    trial, trained = beside(0.0)
    assert (trial.state, trained) == (TrialState.COMPLETE, EPOCHS)


def test_nothing_is_pruned_before_there_is_a_median_to_trust(beside):
    trial, trained = beside(1.0, STARTUP_TRIALS - 1)
    assert (trial.state, trained) == (TrialState.COMPLETE, EPOCHS)
