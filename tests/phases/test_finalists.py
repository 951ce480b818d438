"""The finalists of a small search: which they are, what is kept of them, and what an interruption changes."""

import itertools

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from kdsearch.phases.finalists import Finalists, stretched
from kdsearch.run.worker import Worker
from kdsearch.store.facts import study_facts
from kdsearch.store.finalists import candidates, decided, finalists_of
from kdsearch.store.identity import settle_finalists, settle_target
from kdsearch.store.runs import FINALISTS, Candidate, Run
from kdsearch.store.status import summary
from kdsearch.store.storage import open_storage
from kdsearch.store.studies import study_of
from kdsearch.store.takeover import Takeover
from kdsearch.store.trials import Trials
from kdsearch.study.trial_config import TrialConfig
from kdsearch.tables import FinalistsConfig

COUNT, SEEDS = 2, 3


@pytest.fixture
def searched(create, worker):
    """A study whose search is finished."""

    def make(trials=4, **finalists):
        study = create(trials, finalists={"count": COUNT, "seeds": SEEDS, **finalists})
        worker().work()
        return study

    return make


@pytest.fixture
def finalize(worker):
    """Trains the finalists, until `stop` says so."""

    def run(study, stop=lambda: False):
        made, own = worker(stop=stop), study_of(study, FINALISTS)
        place = own, made.bench, made.job, made.channel, Takeover(own, study._storage)
        Worker(*place, phase=Finalists(), search=study).work()
        return own

    return run


def stop_after(steps):
    asked = itertools.count()
    return lambda: next(asked) >= steps


def test_the_best_few_are_trained_with_several_seeds_and_all_weights_are_kept(searched, finalize, worker):
    study = searched()
    ranked = [trial.number for trial in Trials.of(study).ranked]
    own = Trials.of(finalize(study))
    assert [trial.run for trial in own] == [Run(FINALISTS, place, 0) for place in range(COUNT * SEEDS)]
    assert [(each.facts.candidate.trial, each.facts.candidate.seed) for each in own] == [
        (number, seed) for seed in range(SEEDS) for number in ranked[:COUNT]
    ]
    assert {trial.state for trial in own} == {TrialState.COMPLETE}
    record = worker().bench.record
    assert {trial.run.weights for trial in own} <= set(record.files())
    assert len({trial.facts.student.seed for trial in own}) == len(own)
    found = decided(study)
    for finalist in found.ranked:
        assert [run.accuracy for run in finalist.runs] == pytest.approx(finalist.correct.mean(axis=1))
        assert finalist.interval.mean == pytest.approx(finalist.mean)
        assert finalist.deviation == pytest.approx(np.std(finalist.correct.mean(axis=1), ddof=1))
        searched_curve = record.epochs(Trials.of(study)[finalist.trial].run)
        assert all(record.epochs(run.run) != searched_curve for run in finalist.runs)
    assert len(Trials.of(study).finished) == 4


def test_an_interruption_changes_nothing(searched, finalize, worker, outcome):
    study = searched()
    record = worker().bench.record
    undisturbed = kept(record, finalize(study))
    optuna.delete_study(study_name=f"small/{FINALISTS}", storage=study._storage)
    for run in undisturbed:
        record.replace_epochs(run, [])
        record.delete_file(run.weights)
        record.delete_file(run.correct)
    for steps in (3, 5, 9, 1):
        finalize(study, stop_after(steps))
        assert decided(study) is None
    again = finalize(study)
    assert sum(trial.state == TrialState.FAIL for trial in again.trials) >= 3
    assert kept(record, again) == undisturbed


def kept(record, own):
    """All that is known of each finished training."""
    return {
        trial.run: (
            trial.accuracy,
            [epoch.val_accuracy for epoch in record.epochs(trial.run)],
            record.file(trial.run.weights),
            record.file(trial.run.correct),
            trial.facts.candidate,
            trial.facts.student,
        )
        for trial in Trials.of(own).finished
    }


def test_the_candidates_stay_and_only_what_lacks_is_added(searched, finalize, worker):
    study = searched()
    finalize(study, stop_after(4))
    before = study_facts(study).candidates
    assert len(before) == COUNT * SEEDS
    settle_finalists(study, FinalistsConfig(count=1, seeds=SEEDS + 1, epochs=5), given=True)
    settle_target(study, 6, 0, 0)
    worker().work()
    best = Trials.of(study).best.number
    finalize(study)
    after = study_facts(study).candidates
    assert after == (*before, *(Candidate(trial=best, epochs=5, seed=seed) for seed in range(SEEDS + 1)))
    assert sorted(len(each.runs) for each in decided(study).ranked) == [SEEDS, SEEDS, SEEDS + 1]


def test_a_study_without_them_has_none_and_makes_no_study_of_them(searched, rows_of):
    study = searched(count=0)
    assert (Finalists().target(study), finalists_of(study)) == (0, None)
    assert rows_of()["studies"] == 1


def test_a_study_of_an_earlier_version_gets_none_unless_they_are_given(searched):
    study = searched()
    study._storage.set_study_user_attr(study._study_id, "finalists", None)
    settle_finalists(study, FinalistsConfig(), given=False)
    assert Finalists().target(study) == 0
    settle_finalists(study, FinalistsConfig(count=1), given=True)
    assert Finalists().target(study) == 3


def test_more_than_there_are_complete_trials_are_as_many_as_there_are(searched):
    study = searched(2, count=5)
    assert len(candidates(study_facts(study), Trials.of(study))) == 2 * SEEDS


def test_a_training_that_diverges_is_one_of_the_finalists(searched, finalize, url):
    study = searched(2, count=1, seeds=1)
    best = Trials.of(study).best
    config = best.facts.student.config
    config["training"] |= {"learning_rate": 1e30, "optimizer": "sgd"}
    wild = best.facts.student.model_copy(update={"config": config})
    with study._storage.engine.begin() as connection:
        query = "UPDATE trial_user_attributes SET value_json = ? WHERE key = 'student' AND trial_id = ?"
        connection.exec_driver_sql(query, (wild.model_dump_json(), best.frozen._trial_id))
    fresh = optuna.load_study(study_name="small", storage=open_storage(url))
    own = finalize(fresh)
    (trial,) = Trials.of(own)
    assert (trial.state, trial.facts.mark) == (TrialState.COMPLETE, "diverged")
    assert trial.accuracy < 0.3


def test_the_ledger_counts_their_steps_too(create, worker, finalize):
    finalists = {"count": 1, "seeds": 2, "epochs": 5}
    study = create(1, finalists=finalists, distillation={"loss": "kl"})
    made = worker()
    made.work()
    images = study_facts(study).data.train
    assert summary(study, "", ()).ledger.in_every_step == 3 * images
    own = Trials.of(finalize(study))
    assert [len(made.bench.record.epochs(trial.run)) for trial in own] == [5, 5]
    assert summary(study, "", ()).ledger.in_every_step == (3 + 2 * 5) * images


def test_a_longer_training_stretches_its_finish(searched):
    config = Trials.of(searched(1)).best.facts.student.config
    config["training"] |= {"epochs": 10, "finish_epochs": 2}
    longer = stretched(TrialConfig.model_validate(config), 50)
    assert (longer.training.epochs, longer.training.finish_epochs) == (50, 10)
    assert longer.student == TrialConfig.model_validate(config).student
