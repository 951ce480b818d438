"""A small study that is prepared once for all tests; only its students are trained anew."""

import os
import subprocess
import sys
from contextlib import suppress

import pytest
from optuna.trial import TrialState

from kdsearch.errors import UsageError
from kdsearch.run.protocol import Request
from kdsearch.run.supervisor import Supervisor
from kdsearch.store.facts import trial_facts
from kdsearch.store.identity import find_study
from kdsearch.store.record import StudyRecord
from kdsearch.store.storage import open_storage
from kdsearch.store.trials import FINISHED

STUDY = """
[data]
IMAGES
[views]
count = 2
[teacher]
model = "mobilenet_v3_small"
epochs = 1
[budget]
max_params = 3000
[student]
family = ["plain", "dwsep"]
stages = 1
[training]
batch_size = 20
epochs = EPOCHS
[distillation]
loss = ["ce", "kl"]
[finalists]
count = 0
"""

RUN = """
import sys

from kdsearch import api
from kdsearch.errors import KdsearchError
from kdsearch.progress import Silence
from kdsearch.run.protocol import Request
from kdsearch.run.supervisor import Supervisor

if __name__ == "__main__":
    how, storage = sys.argv[1:]
    try:
        values = {"run.trials": 3, "run.workers": "1", "run.storage": storage}
        if how == "api":  # to an MLflow that is not there
            api.run("small.toml", values={**values, "run.tracking_uri": "http://127.0.0.1:9"})
        else:
            Supervisor(Request(study="small.toml", values=values), Silence()).run()
    except KdsearchError as error:
        print(error)
        sys.exit(error.exit_code)
"""


LONG = 40  # epochs: enough to be interrupted in the middle


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """One cache for all processes of pytest: the first test that needs them makes teacher and views."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "acceptance-cache"


@pytest.fixture(autouse=True)
def shared(own_folders, cache, monkeypatch):
    monkeypatch.setenv("KDSEARCH_CACHE", str(cache))
    monkeypatch.setenv("KDSEARCH_GRACE", "2")


class Watched:
    """What the terminal is told."""

    def __init__(self):
        self.said, self.tasks, self.finished = [], set(), 0

    def say(self, text):
        self.said.append(text)

    def step(self, task, done, total, note=""):
        self.tasks.add(task)

    def standing(self, standing):
        self.finished = standing.finished


class Small:
    """The study in a folder, with ways to run and to read it."""

    def __init__(self, folder):
        self.folder = folder
        self.url = f"sqlite:///{folder / 'kdsearch.db'}"
        self.storage = None
        self.write()

    def write(self, epochs=LONG, data="train_images = 200"):
        (self.folder / "small.toml").write_text(STUDY.replace("EPOCHS", str(epochs)).replace("IMAGES", data))

    def run(self, trials, workers=1, watched=None):
        """In this process; children do the work."""
        watched = watched or Watched()
        values = {"run.workers": str(workers), "run.storage": self.url}
        values |= {} if trials is None else {"run.trials": trials}
        request = Request(study=str(self.folder / "small.toml"), values=values)
        return Supervisor(request, watched).run(), watched

    def start(self, how="supervise", before=()):
        """In a process group of its own, as a terminal does."""
        (self.folder / "run.py").write_text(RUN)
        command = [*before, sys.executable, "run.py", how, self.url]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, start_new_session=True, cwd=self.folder
        )

    @property
    def study(self):
        """Optuna's study, None where there is none yet."""
        if "sqlite" in self.url and not (self.folder / "kdsearch.db").exists():
            return None
        with suppress(UsageError):  # its tables are being made
            self.storage = self.storage or open_storage(self.url)
            return find_study(self.storage, "small")

    def close(self):
        """Leaves no connection open."""
        if self.storage:
            self.storage.engine.dispose()

    @property
    def finished(self):
        """What the study found, by slot: all that must be the same whatever happened in between."""
        return {
            run: (trial.params, trial.state, trial.value, self.curves[run])
            for trial in self.study.trials
            if trial.state in FINISHED and (run := trial_facts(trial).run)
        }

    @property
    def curves(self):
        """The accuracies of each recorded run, by epoch."""
        recorded = StudyRecord(self.storage.engine, "small").all_epochs()
        return {run: [each.val_accuracy for each in epochs] for run, epochs in recorded.items()}

    @property
    def training(self):
        """The running trials that have had their first epoch."""
        trials = self.study.trials if self.study else []
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        return [trial for trial in running if trial_facts(trial).run in self.curves]


@pytest.fixture
def watched():
    return Watched()


@pytest.fixture
def small(tmp_path):
    small = Small(tmp_path)
    yield small
    small.close()


@pytest.fixture(scope="session")
def undisturbed(cache, tmp_path_factory):
    """The study with three trials that nobody interrupted; not to be changed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KDSEARCH_CACHE", str(cache))
        environment.setenv("KDSEARCH_STATE", str(folder / "state"))
        environment.setenv("KDSEARCH_GRACE", "2")
        small = Small(folder)
        small.summary, small.watched = small.run(3)
    return small
