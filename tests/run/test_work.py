"""What a run computes, in counts: they are the same on every machine, and grow before the times do.

A count that rises here means that each trial, or each step, does something that was done once before.
"""

from collections import Counter

import pytest
from torch.nn.modules.module import register_module_forward_pre_hook

from kdsearch.models.teachers import Teacher
from kdsearch.phases.bench import Bench, Prepared
from kdsearch.run.preparing import prepare
from kdsearch.run.protocol import Channel, Job, Ready, Request, Step
from kdsearch.run.worker import Worker
from kdsearch.store import identity
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import SEARCH
from kdsearch.store.storage import open_storage
from kdsearch.store.takeover import Takeover

TRAIN, VALIDATION, VIEWS, EPOCHS, TRIALS = 60, 20, 2, 4, 3
SETTINGS = {
    "data.name": "folder",
    "data.image_size": 16,
    "data.validation": VALIDATION / (TRAIN + VALIDATION),
    "budget.max_params": 3000,
    "student.stages": 1,
    "training.epochs": EPOCHS,
    "training.batch_size": 20,
    "distillation.loss": "kl",
    "teacher.model": "mobilenet_v3_small",
    "teacher.epochs": 1,
    "views.count": VIEWS,
}


class Heard(Channel):
    """Keeps where things are, and counts the files that were decoded."""

    def __init__(self, counts):
        self.prepared, self.counts = None, counts

    def send(self, message):
        if isinstance(message, Ready):
            self.prepared = Prepared.model_validate(message.prepared)
        if isinstance(message, Step) and message.task.startswith("decode") and message.done == message.total:
            self.counts["decoded"] += message.total


@pytest.fixture
def counts():
    """Decoded files, and images that teachers have answered to, trainings of teachers aside."""
    found = Counter()

    def see(module, inputs):
        if isinstance(module, Teacher) and not module.training and len(inputs[0]) > VALIDATION:
            found["answered"] += len(inputs[0])

    handle = register_module_forward_pre_hook(see)
    yield found
    handle.remove()


def test_a_run_decodes_each_file_once_and_asks_the_teacher_once_a_view(tmp_path, counts, draw_images):
    root = draw_images(tmp_path / "pets", *(f"{n % 2}/{n}.png" for n in range(TRAIN + VALIDATION)))
    url = f"sqlite:///{tmp_path / 'kdsearch.db'}"
    own = {"name": "work", "run.storage": url, "data.path": str(root), "run.device": "cpu"}
    values = {**SETTINGS, **own, "run.trials": TRIALS}
    for _ in range(2):  # the second finds all that the first has made
        heard = Heard(counts)
        prepare(Request(study="food11", values=values), heard)
    storage = open_storage(url)
    study = identity.open_study(storage, "work")
    bench = Bench(identity.stored_study(study), heard.prepared, StudyRecord(url, "work"), lambda: False)
    Worker(study, bench, Job("work", url, {}, 0, 1, 0, 0.0), heard, Takeover(study, storage)).work()
    assert (
        sum(len(e) for run, e in bench.record.all_epochs().items() if run.phase == SEARCH) == TRIALS * EPOCHS
    )
    assert counts == {"decoded": TRAIN + VALIDATION, "answered": VIEWS * TRAIN}
