"""A second phase beside the search: a class in one file, and a line in PHASES."""

from functools import partial

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from kdsearch.errors import IdentityError
from kdsearch.phases.phase import PHASES
from kdsearch.phases.search import keep_weights
from kdsearch.run.worker import Worker
from kdsearch.store.facts import TrialFacts, attributes_of, keep, study_facts
from kdsearch.store.queue import claim_run
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import Run
from kdsearch.store.status import status
from kdsearch.store.studies import remove_study, studies_in, study_of, with_phases
from kdsearch.store.takeover import Takeover
from kdsearch.store.trials import Trials
from kdsearch.study.trial_config import TrialConfig

AGAIN = 2


class Again:
    """Trains the best student of the search anew, with other weights to begin with."""

    name = "again"

    def target(self, search):
        return AGAIN

    def recipes(self, bench):
        return []

    def train(self, trial, bench, target, before):
        run = claim_run(trial, Trials.of(trial.study, before), target)
        keep(trial, student=self.best)
        config = TrialConfig.model_validate(self.best.config)
        checkpoint = bench.checkpoint(run, config.key)
        training = checkpoint.resume(partial(bench.training, config, run))
        for result in bench.timed(training):
            bench.record.epoch(run, result)
            checkpoint.save(training, now=True)
        return training.last.val_accuracy


@pytest.fixture
def searched(create, worker):
    """A study whose search is finished, a worker on it, and the phase after the search."""
    study = create(2)
    made = worker()
    made.work()
    phase = Again()
    phase.best = Trials.of(study).best.facts.student
    own = study_of(study, phase.name)
    storage = made.study._storage
    return study, Worker(
        own, made.bench, made.job, made.channel, Takeover(own, storage), phase=phase, search=study
    )


def test_it_trains_its_own_places_under_names_of_its_own(searched):
    study, worker = searched
    search = worker.bench.record.all_epochs()
    worker.work()
    trials = Trials.of(worker.study)
    runs = [Run("again", place, 0) for place in range(AGAIN)]
    assert [(trial.run, trial.state) for trial in trials] == [(run, TrialState.COMPLETE) for run in runs]
    epochs = worker.bench.record.all_epochs()
    assert epochs.keys() == {*search, *runs}
    assert [epochs[run][-1].val_accuracy for run in runs] == [trial.accuracy for trial in trials]
    assert epochs[runs[0]] != epochs[runs[1]]
    assert {run: epochs[run] for run in search} == search
    assert len({worker.bench.seed(run) for run in epochs}) == len(epochs)
    assert list(worker.bench.checkpoints.iterdir()) == []
    assert len(Trials.of(study).finished) == 2
    assert status(study, "").phases == ()
    phases = status(study, "", {"search": 2, "again": AGAIN, "later": 3}).phases
    assert [(each.phase, each.finished, each.target) for each in phases] == [
        ("search", 2, 2),
        ("again", AGAIN, AGAIN),
        ("later", 0, 3),
    ]


def test_it_continues_what_was_interrupted(searched):
    _, worker = searched
    asked = iter([False] * 4 + [True])
    worker.bench.stop = lambda: next(asked, True)
    worker.work()
    (file,) = worker.bench.checkpoints.iterdir()
    assert file.name == "slot-again-0-0.safetensors"
    before = worker.bench.record.epochs(Run("again", 0, 0))
    worker.bench.stop = lambda: False
    worker.work()
    assert worker.bench.record.epochs(Run("again", 0, 0))[: len(before)] == before
    assert [trial.run.place for trial in Trials.of(worker.study).finished] == [0, 1]


def test_its_weights_and_the_search_s_are_none_of_each_other_s_business(searched):
    study, worker = searched
    record, run = worker.bench.record, Run("again", 0, 0)
    before = record.files()
    assert [name for name in before if Run("search", 0, 0).has_weights(name)] != []
    again = study_of(study, "again")
    again._thread_local.in_optimize_loop = True
    trial = again.ask()
    training = worker.bench.training(TrialConfig.model_validate(worker.phase.best.config), run)
    list(training)
    record.put_file(Run("again", 7, 0).weights, b"of a trial that is no longer there")
    keep_weights(trial, record, run, training, Trials([]))
    assert record.files() == sorted([*before, run.weights])


def test_a_study_of_another_program_is_no_phase(create, url):
    study = create()
    storage = study._storage
    theirs = optuna.create_study(study_name="small/mine", storage=storage, direction="maximize")
    theirs.add_trial(create_trial(value=0.5))
    with pytest.raises(IdentityError, match="'small/mine' in this database was not created by kdsearch"):
        study_of(study, "mine")
    assert with_phases(study) == [study]
    remove_study(study, StudyRecord(url, "small"))
    assert optuna.get_all_study_names(storage) == ["small/mine"]


def test_it_is_no_study_of_the_users_and_goes_with_its_search(searched, rows_of):
    study, worker = searched
    worker.work()
    assert [*studies_in(study._storage)] == [study.study_name]
    assert study_facts(study).target == 2
    remove_study(study, worker.bench.record)
    assert rows_of() == {}


def test_the_search_is_the_first_phase_and_its_names_are_as_before():
    assert PHASES[0].name == "search"
    run = Run("search", 3, 1)
    assert (run.key, run.checkpoint) == ("3.1", "slot-3-1.safetensors")
    assert (run.weights, run.seed_parts) == ("weights-3-1.safetensors", ("trial", 3, 1))
    assert attributes_of(TrialFacts.of_run(run)) == {"slot": 3, "attempt": 1}
