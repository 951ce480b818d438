"""A small study of real digits whose teacher's answers are random: what a search does not depend on."""

import gc
import shutil
import tomllib
from multiprocessing import Pipe

import numpy as np
import optuna
import pytest
from sqlalchemy import inspect

from kdsearch.cache import making
from kdsearch.data.image_set import SearchSets
from kdsearch.data.sources import load_search_sets
from kdsearch.database import open_engine
from kdsearch.engine.checkpoint import EVERY
from kdsearch.phases.bench import Bench, Prepared
from kdsearch.progress import Silence
from kdsearch.run.creating import create_study, data_facts
from kdsearch.run.protocol import Channel, Job, Say
from kdsearch.run.worker import Worker
from kdsearch.store import identity
from kdsearch.store.facts import trial_facts
from kdsearch.store.record import StudyRecord
from kdsearch.store.storage import open_storage
from kdsearch.store.takeover import Takeover
from kdsearch.store.trials import FINISHED
from kdsearch.study.file import Study
from kdsearch.views.bank import ViewBank

SMALL = """
[data]
train_images = 200
[budget]
max_params = 3000
[student]
family = ["plain", "dwsep"]
stages = 1
[training]
epochs = 3
batch_size = 100
[distillation]
loss = ["ce", "kl"]
[finalists]
count = 0
"""


@pytest.fixture
def short_grace(monkeypatch):
    monkeypatch.setenv("KDSEARCH_GRACE", "2")


@pytest.fixture(scope="session")
def quiet_optuna():
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)


@pytest.fixture
def small():
    """A study like SMALL, with some of its values changed, by table."""

    def make(name="small", **changed):
        tables = tomllib.loads(SMALL)
        for table, values in changed.items():
            tables[table] = values if table == "first" else {**tables.get(table, {}), **values}
        return Study({"name": name, **tables}, "small.toml")

    return make


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """The folder of the small study's images."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KDSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return load_search_sets(Study(tomllib.loads(SMALL), "small.toml").data, 0, Silence()).folder


@pytest.fixture(scope="session")
def answers(tmp_path_factory, data):
    """Two views of these images without augmentation, with random answers of a teacher."""
    sets = SearchSets.open(data)
    teachers = {"teacher": {"embedding": 4}}
    bank = ViewBank(folder=tmp_path_factory.mktemp("views"), count=2, classes=10, teachers=teachers)
    for number in range(bank.count):
        random = np.random.default_rng(number)
        arrays = {
            "images": sets.train.images.numpy(),
            "teacher.logits": random.normal(0, 3, (len(sets.train), 10)).astype(np.float16),
            "teacher.embedding": random.normal(0, 1, (len(sets.train), 4)).astype(np.float16),
        }
        with making(bank.path(number), 0) as folder:
            for name, array in arrays.items():
                np.save(folder / f"{name}.npy", array)
    return bank


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """A database with Optuna's tables and nothing in them: to copy it is faster than to make one."""
    path = tmp_path_factory.mktemp("empty") / "kdsearch.db"
    open_storage(f"sqlite:///{path}", create=True).engine.dispose()
    return path


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'kdsearch.db'}"


@pytest.fixture
def rows_of(url):
    """Counts the rows that belong to a study or to a trial, by table; empty tables are left out."""

    def count():
        engine = open_engine(url)
        with engine.begin() as connection:
            names = [name for name in inspect(connection).get_table_names() if "version" not in name]
            query = "SELECT count(*) FROM {}"
            counts = {name: connection.exec_driver_sql(query.format(name)).scalar_one() for name in names}
        engine.dispose()
        return {name: number for name, number in counts.items() if number}

    return count


@pytest.fixture
def prepared(tmp_path, data, answers):
    return Prepared(data=data, bank=answers, checkpoints=tmp_path / "checkpoints", device="cpu")


@pytest.fixture
def create(tmp_path, url, empty, small, data):
    """Creates the small study in a database, for so many trials; returns Optuna's study."""

    def make(target=4, name="small", storage=url, **tables):
        if storage == url and not (tmp_path / "kdsearch.db").exists():
            shutil.copy(empty, tmp_path / "kdsearch.db")
        study = small(name=name, **tables)
        facts = data_facts("digits", SearchSets.open(data))
        create_study(open_storage(storage, create=storage != url), study, facts, 2)
        found = identity.open_study(open_storage(storage), name)
        identity.settle_target(found, target, 0, 100)
        return found

    return make


@pytest.fixture
def worker(url, prepared):
    """A worker of this process on a study that exists; `heard` is the other end of its pipe."""

    def make(stop=lambda: False, name="small", prepared=prepared, save_every=EVERY):
        storage = open_storage(url)
        study = identity.open_study(storage, name)
        heard, said = Pipe(duplex=False)
        channel = Channel(said)
        stored, record = identity.stored_study(study), StudyRecord(url, name)
        bench = Bench(stored, prepared, record, stop, channel.say, save_every=save_every)
        job = Job(name, url, {}, 0, 1, len(study.trials), 0.0)
        made = Worker(study, bench, job, channel, Takeover(study, storage))
        made.heard = heard
        return made

    gc.freeze()  # as a worker's own process does: it collects garbage after each trial
    yield make
    gc.unfreeze()


@pytest.fixture
def lines():
    """What the user is told by a worker."""

    def told(worker):
        said = []
        while worker.heard.poll():
            message = worker.heard.recv()
            said += [message.text] if isinstance(message, Say) else []
        return said

    return told


@pytest.fixture
def curves(url):
    """The accuracies of each recorded run of a study, by epoch."""

    def of(study):
        record = StudyRecord(url, study.study_name)
        found = {run: [each.val_accuracy for each in epochs] for run, epochs in record.all_epochs().items()}
        record.engine.dispose()
        return found

    return of


@pytest.fixture
def outcome(curves):
    """What a study found, by slot: all of it must be the same whatever happened in between."""

    def of(study):
        recorded = curves(study)
        return {
            run: (trial.params, trial.state, trial.value, recorded[run], trial.user_attrs["key"])
            for trial in study.trials
            if trial.state in FINISHED and (run := trial_facts(trial).run)
        }

    return of
