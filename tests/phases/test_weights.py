from optuna.trial import TrialState, create_trial
from torch import nn

from kdsearch.epoch import EpochResult
from kdsearch.phases.search import KEPT, keep_weights
from kdsearch.store.facts import StudentFacts, keep
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.trials import Trials

STUDENT = StudentFacts(config={}, parameters=6, macs=1)


class Trained:
    """What a training leaves: a network, and its last epoch."""

    def __init__(self, accuracy, loss, inputs):
        self.final = nn.Linear(inputs, 2)
        self.last = EpochResult(
            epoch=0, train_loss=1, parts={}, val_loss=loss, val_accuracy=accuracy, learning_rate=0.1,
            images_per_second=1, seconds=1, finished_at=1,
        )  # fmt: skip


def finish(study, record, place, accuracy, *, loss=1.0, inputs=2):
    study.enqueue_trial({}, user_attrs={"slot": place, "attempt": 0})
    study._thread_local.in_optimize_loop = True
    trial = study.ask()
    keep_weights(trial, record, Run(SEARCH, place, 0), Trained(accuracy, loss, inputs), Trials([]))
    size = {"parameters": 2 * inputs + 2}
    keep(trial, val_loss=loss, student=STUDENT.model_copy(update=size))
    study.tell(trial, accuracy)


def kept(record):
    return {name for name in record.files() if name.startswith("weights-")}


def names(*places):
    return {Run(SEARCH, place, 0).weights for place in places}


def test_the_weights_of_the_ten_best_are_kept_ties_by_loss(create, url):
    study, record = create(), StudyRecord(url, "small")
    for place in range(KEPT):
        finish(study, record, place, 0.5 + place / 100)
    assert kept(record) == names(*range(10))
    finish(study, record, 10, 0.4)
    finish(study, record, 11, 0.5)
    assert kept(record) == names(*range(10))
    finish(study, record, 12, 0.5, loss=0.9)
    assert kept(record) == names(*range(1, 10), 12)
    finish(study, record, 13, 0.9)
    assert kept(record) == names(*range(1, 10), 13)


def test_the_best_of_their_size_are_kept_too(create, url):
    study, record = create(), StudyRecord(url, "small")
    for place in range(KEPT):
        finish(study, record, place, 0.5 + place / 100, inputs=9)
    finish(study, record, 10, 0.3, inputs=4)
    finish(study, record, 11, 0.2, inputs=5)  # larger than 10, and worse
    assert kept(record) == names(*range(11))
    finish(study, record, 12, 0.4, inputs=3)  # beats 10
    finish(study, record, 13, 0.6, inputs=9)
    assert kept(record) == names(*range(1, 10), 12, 13)


def test_weights_of_a_trial_that_optuna_has_not_been_told_of_stay(create, url):
    study, record = create(), StudyRecord(url, "small")
    study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs={"slot": 20, "attempt": 0}))
    record.put_file(Run(SEARCH, 20, 0).weights, b"weights")
    finish(study, record, 0, 0.5)
    assert kept(record) == names(0, 20)
