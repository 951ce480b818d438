import itertools

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from kdsearch.mirror.study_rows import trial_rows
from kdsearch.phases.search import is_audited
from kdsearch.store.facts import Audited, trial_facts
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.status import Audit, audit
from kdsearch.store.trials import FINISHED, Trials

STUDENT = {"student": {"config": {}, "parameters": 1, "macs": 1}}
WARM = 3  # the first epoch about which the pruner is asked


class Stern:
    """Stops whatever it is asked for, and knows the epochs about which it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, curve):
        self.asked.append(len(curve) - 1)
        return True


@pytest.fixture
def searched(create, worker):
    """A study of six trials whose pruner stops all but the two baselines, audited in a share of them."""

    def search(share, *stops):
        study, pruner = create(6, training={"epochs": 5}, search={"audit": share}), Stern()
        for steps in (*stops, None):
            asked = itertools.count()
            made = worker(stop=lambda asked=asked, s=steps: s is not None and next(asked) >= s)
            made.bench.pruner = pruner
            made.work()
        return study, pruner, made.bench

    return search


def finished(study):
    return {trial_facts(trial).run.place: trial for trial in study.trials if trial.state in FINISHED}


def test_an_audited_trial_runs_on_to_its_end_and_is_asked_once(searched):
    study, pruner, _ = searched(1.0)
    assert pruner.asked == [WARM] * 4
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 6
    best = 0.0
    for trial in study.trials:
        mark = Audited(epoch=WARM, best=best) if trial_facts(trial).run.place >= 2 else None
        assert trial_facts(trial).audited == mark
        best = max(best, trial.value)


def test_without_an_audit_no_weak_trial_runs_on(searched):
    study, _, _ = searched(0.0)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2 + [TrialState.PRUNED] * 4
    assert not any(trial_facts(trial).audited for trial in study.trials)
    assert audit(Trials.of(study)) == Audit(trials=0, wrong=0)


def test_the_slot_and_the_seed_decide(searched):
    study, _, bench = searched(0.5)
    audited = {place for place, trial in finished(study).items() if trial_facts(trial).audited}
    assert audited == {place for place in range(2, 6) if is_audited(bench, Run(SEARCH, place, 0))}
    assert 0 < len(audited) < 4
    slots = [Run(SEARCH, place, attempt) for place in range(2000) for attempt in range(2)]
    assert sum(is_audited(bench, slot) for slot in slots) == pytest.approx(2000, abs=150)


def test_an_interrupted_audit_goes_on_as_one_and_its_trial_is_not_asked_again(searched, outcome):
    whole, _, _ = searched(1.0)
    marks = {place: trial_facts(trial).audited for place, trial in finished(whole).items()}
    expected = outcome(whole)
    optuna.delete_study(study_name="small", storage=whole._storage)
    again, pruner, _ = searched(1.0, 29, 4)
    interrupted = [trial for trial in again.trials if trial.state == TrialState.FAIL]
    assert any(trial_facts(trial).audited for trial in interrupted)
    assert len(pruner.asked) == 4
    assert {place: trial_facts(trial).audited for place, trial in finished(again).items()} == marks
    assert outcome(again) == expected


def test_the_pruner_was_wrong_where_a_trial_ended_above_the_best_of_that_time():
    study = optuna.create_study(direction="maximize")
    for value, best in ((0.6, 0.5), (0.5, 0.5), (0.7, 0.8), (0.9, None)):
        mark = {"audited": {"epoch": 3, "best": best}} if best else {}
        study.add_trial(create_trial(value=value, user_attrs={**mark, **STUDENT}))
    running = {"audited": {"epoch": 3, "best": 0.1}}
    study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs=running))
    assert audit(Trials.of(study)) == Audit(trials=3, wrong=1)


def test_mlflow_is_told_when_a_trial_would_have_stopped():
    study = optuna.create_study(direction="maximize")
    for mark in ({"audited": {"epoch": 3, "best": 0.5}}, {}):
        study.add_trial(create_trial(value=0.5, user_attrs={"slot": 0, "attempt": 0, **mark}))
    assert [row.audited_epoch for row in trial_rows(Trials.of(study))] == [3, None]
