"""Real worker processes on one study, some of which die."""

import random
from collections import Counter

import pytest
from optuna.trial import TrialState

from kdsearch.phases.finalists import Finalists
from kdsearch.run.child import Child
from kdsearch.run.protocol import Job
from kdsearch.run.worker import Worker
from kdsearch.store.facts import trial_facts
from kdsearch.store.liveness import worker_of
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import FINALISTS, SEARCH
from kdsearch.store.studies import study_of
from kdsearch.store.takeover import Takeover
from kdsearch.store.trials import FINISHED, Trials
from tests.servers import wait_until


class Crew:
    """So many workers, each replaced when it dies; as the supervisor does."""

    def __init__(self, url, prepared, size):
        self.jobs = [
            Job("small", url, prepared.model_dump(mode="json"), place, size, 0, 0.0) for place in range(size)
        ]
        self.children = [self._start(job) for job in self.jobs]

    def _start(self, job):
        return Child("kdsearch.run.worker:work_process").begin(job)

    def process(self, pid):
        return next((child.process for child in self.children if child.process.pid == pid), None)

    def is_done(self):
        """Looks after them; whether all have ended well."""
        for place, child in enumerate(self.children):
            list(child.messages())
            if child.ended and child.process.exitcode != 0:
                self.children[place] = self._start(self.jobs[place])
        return all(child.process.exitcode == 0 for child in self.children)

    def end(self):
        for child in self.children:
            child.process.kill()
            child.process.join()


@pytest.fixture
def crew(url, prepared):
    crews = []

    def make(size):
        crews.append(Crew(url, prepared, size))
        return crews[-1]

    yield make
    for each in crews:
        each.end()


def finished(study):
    return [trial for trial in study.trials if trial.state in FINISHED]


@pytest.mark.slow
def test_four_workers_of_which_six_are_killed_finish_every_slot_once(create, crew):
    study, workers, chance = create(24, training={"epochs": 8}), crew(4), random.Random(5)
    kills = sorted(chance.sample(range(16), 6))

    def is_done():
        running = [trial for trial in Trials.of(study).in_state(TrialState.RUNNING) if worker_of(trial)]
        if kills and running and len(finished(study)) >= kills[0]:
            victim = workers.process(worker_of(chance.choice(running)).pid)
            if victim and victim.is_alive():
                victim.kill()
                kills.pop(0)
        return workers.is_done()

    wait_until(is_done, "24 trials", patience=100)
    assert kills == []
    assert Counter(trial_facts(trial).run.place for trial in finished(study)) == Counter(range(24))
    assert all(trial.state.is_finished() for trial in study.trials)


def finalized(study):
    """What is known of each finished training of the finalists."""
    own, record = study_of(study, FINALISTS), find_record(study)
    return {
        trial.run: (trial.accuracy, trial.facts.candidate, record.file(trial.run.weights))
        for trial in Trials.of(own).finished
    }


def find_record(study):
    return StudyRecord(study._storage.engine, study.study_name)


@pytest.mark.slow
@pytest.mark.usefixtures("long_grace")
def test_a_worker_that_is_killed_among_the_finalists_changes_nothing(create, worker, crew, curves):
    tables = {"training": {"epochs": 8, "batch_size": 20}, "finalists": {"count": 2, "seeds": 2}}
    study, workers = create(2, **tables), crew(1)
    wait_until(lambda: {run.phase for run in curves(study)} == {SEARCH, FINALISTS}, "a finalist's epoch")
    workers.children[0].process.kill()
    wait_until(workers.is_done, "the rest")
    lost = [trial for trial in study_of(study, FINALISTS).trials if trial.state == TrialState.FAIL]
    assert [trial_facts(trial).mark for trial in lost] == ["lost"]

    again = create(2, name="undisturbed", **tables)
    alone = worker(name="undisturbed")
    alone.work()
    own = study_of(again, FINALISTS)
    place = own, alone.bench, alone.job, alone.channel, Takeover(own, again._storage)
    Worker(*place, phase=Finalists(), search=again).work()
    assert finalized(study) == finalized(again)
    assert len(finalized(again)) == 4


@pytest.fixture
def long_grace(monkeypatch):
    monkeypatch.setenv("KDSEARCH_GRACE", "60")


@pytest.mark.usefixtures("long_grace")  # its own machine sees it at once
def test_a_worker_that_is_killed_in_the_middle_of_a_trial_changes_nothing(
    create, worker, crew, outcome, curves
):
    training = {"epochs": 30, "batch_size": 20}
    study, workers = create(3, training=training), crew(1)
    wait_until(lambda: study.trials and curves(study), "an epoch")
    workers.children[0].process.kill()
    wait_until(workers.is_done, "the rest")
    found = outcome(study)
    assert [trial_facts(trial).mark for trial in study.trials if trial.state == TrialState.FAIL] == ["lost"]

    again = create(3, name="undisturbed", training=training)
    worker(name="undisturbed").work()
    assert outcome(again) == found
