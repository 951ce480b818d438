"""The best trial of a small search among pictures in a folder: exported, and judged by the test split."""

import json
import re
import shutil
from statistics import fmean

import numpy as np
import pytest
from click.testing import CliRunner
from optuna.trial import TrialState, create_trial
from PIL import Image

from kdsearch import api
from kdsearch.cli import main
from kdsearch.cli.display_network import show_exported
from kdsearch.data.sources import load_search_sets
from kdsearch.deliver.winner import find_winner, judge_best
from kdsearch.engine.evaluate import named_right_mirrored
from kdsearch.errors import DataError, NothingFinishedError, StorageError, UsageError
from kdsearch.models.student import student_outputs
from kdsearch.phases.bench import Bench, Prepared
from kdsearch.phases.phase import PHASES
from kdsearch.progress import Silence
from kdsearch.run.preparing import prepare
from kdsearch.run.protocol import Channel, Job, Ready, Request
from kdsearch.run.worker import Worker
from kdsearch.store.facts import TrialFacts, attributes_of, keep_final_test, study_facts
from kdsearch.store.final_test import FinalTest
from kdsearch.store.identity import open_study, settle_target, stored_study, study_at
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.storage import open_storage
from kdsearch.store.studies import find, study_of
from kdsearch.store.takeover import Takeover
from kdsearch.store.trials import Trials
from kdsearch.tables import PublishedResult, Wanted

TRIALS, TEST = 2, 12
SETTINGS = {
    "name": "pets",
    "data.name": "folder",
    "data.image_size": 16,
    "data.validation": 0.25,
    "run.device": "cpu",
    "budget.max_params": 3000,
    "student.stages": 1,
    "training.epochs": 1,
    "training.batch_size": 20,
    "distillation.loss": "ce",
    "teacher.model": "mobilenet_v3_small",
    "teacher.epochs": 1,
    "views.count": 1,
    "finalists.count": 0,
}
PUBLISHED = PublishedResult(recipe="a paper", result="none stated")


class Preparing(Channel):
    """Keeps where things are."""

    def __init__(self):
        self.prepared = None

    def send(self, message):
        if isinstance(message, Ready):
            self.prepared = Prepared.model_validate(message.prepared)


def search(folder, **settings):
    """Runs a search in this process, with its database and its pictures in `folder`."""
    url = f"sqlite:///{folder / 'kdsearch.db'}"
    values = {
        **SETTINGS,
        "run.trials": TRIALS,
        "run.storage": url,
        "data.path": str(folder / "pets"),
        **settings,
    }
    heard = Preparing()
    prepare(Request(study="food11", values=values), heard)
    storage, record = open_storage(url), StudyRecord(url, "pets")
    study = open_study(storage, "pets")
    bench = Bench(stored_study(study), heard.prepared, record, lambda: False)
    job = Job("pets", url, {}, 0, 1, 0, 0.0)
    for phase in PHASES:
        if phase.target(study):
            own = study_of(study, phase.name)
            Worker(own, bench, job, heard, Takeover(own, storage), phase=phase, search=study).work()
    storage.engine.dispose()
    record.engine.dispose()


@pytest.fixture
def pets(draw_images):
    """Pictures of two classes: 60 to search with and TEST to judge by."""

    def draw(folder):
        searched = [f"training/{number % 2}/{number}.png" for number in range(60)]
        draw_images(folder / "pets", *searched, *(f"test/{n % 2}/t{n}.png" for n in range(TEST)))

    return draw


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    return tmp_path_factory.mktemp("searched")


class Study:
    """The search in a folder of a test's own."""

    def __init__(self, folder):
        self.folder, self.url = folder, f"sqlite:///{folder / 'kdsearch.db'}"
        self.pictures = folder / "pets"
        self.trials, self.record = find("pets", self.url)

    def export(self, out="best", **how):
        where = {"storage": self.url, "out": self.folder / out, "data": str(self.pictures)}
        return api.export_best("pets", **where, **how)

    def judge(self, progress, *, test=True):
        return judge_best(self.trials, self.record, PUBLISHED, progress, test=test, data=str(self.pictures))

    def remove_test_split(self):
        shutil.rmtree(self.pictures / "test")


@pytest.fixture
def study(once, pets, tmp_path):
    if not (once / "kdsearch.db").exists():
        pets(once)
        search(once)
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    study = Study(tmp_path)
    yield study
    study.record.engine.dispose()


@pytest.fixture
def said(capsys):
    """What the terminal shows of an export."""

    def told(exported):
        capsys.readouterr()
        show_exported(exported)
        return capsys.readouterr().out

    return told


def test_the_best_student_is_written_with_what_the_test_split_says_of_it(study):
    best = Trials.of(study.trials).best
    exported = study.export()
    assert (exported.study, exported.trial) == ("pets", best.number)
    assert exported.validation_accuracy == best.accuracy
    assert (exported.test.images, exported.test.copies, exported.notes) == (TEST, 0, ())
    assert {path.parent for path in exported.paths} == {study.folder / "best"}
    config = json.loads((study.folder / "best" / "config.json").read_text())
    assert (config["study"], config["trial"], config["parameters"]) == (
        "pets",
        best.number,
        exported.parameters,
    )


def test_the_accuracy_with_mirrored_views_stands_beside_the_plain_one(study, said):
    exported = study.export()
    sets = load_search_sets(study_at(study.trials, str(study.pictures)).data, 0, Silence())
    student = find_winner(study.trials, study.record).student()
    shown = student_outputs, sets.validation.images, sets.validation.labels
    expected = fmean(named_right_mirrored(student, *shown))
    assert exported.validation_mirrored == expected
    mirrored = [f"{100 * each:.2f} %" for each in (expected, exported.test.mirrored)]
    assert f"with mirrored views: validation {mirrored[0]}, test {mirrored[1]}" in said(exported)
    card = (study.folder / "best" / "README.md").read_text()
    assert f"| validation, with mirrored views | 15 | {mirrored[0]} |" in card
    assert f"| test, with mirrored views | {TEST} | {mirrored[1]} |" in card
    study.remove_test_split()
    assert study.export(force=True) == exported


def test_another_trial_than_the_winner_can_be_exported(study):
    other = Trials.of(study.trials).ranked[-1]
    exported = study.export("other", wanted=Wanted(trial=other.number))
    assert (exported.trial, exported.validation_accuracy) == (other.number, other.accuracy)
    card = (study.folder / "other" / "README.md").read_text()
    assert f"one of {TRIALS} finished trials, which was chosen by its number" in card


def test_limits_choose_the_best_that_meets_them(study):
    by_size = sorted(Trials.of(study.trials).ranked, key=lambda trial: trial.facts.student.parameters)
    least = by_size[0].facts.student
    limits = {"max_params": least.parameters, "max_macs": max(t.facts.student.macs for t in by_size)}
    exported = study.export("small", wanted=Wanted(**limits))
    best = min((t for t in by_size if t.facts.student.parameters == least.parameters), key=lambda t: t.rank)
    assert (exported.trial, exported.parameters) == (best.number, least.parameters)
    words = f"the best with at most {least.parameters:,} parameters and at most {limits['max_macs']:,} "
    assert words in (study.folder / "small" / "README.md").read_text()


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Wanted(trial=7), "has no trial 7: they are numbered from 0 to 1"),
        (Wanted(max_params=10), "no complete trial with at most 10 parameters; the smallest has "),
        (Wanted(trial=0, max_macs=9), "trial 0 is larger: wanted are at most 9 multiply-adds"),
    ],
)
def test_a_trial_that_is_not_there_is_one_line_and_nothing_is_written(study, wanted, told):
    with pytest.raises(UsageError, match=told):
        study.export(wanted=wanted)
    assert not (study.folder / "best").exists()


def test_weights_that_are_gone_name_the_command_that_makes_them(study):
    other = Trials.of(study.trials).ranked[-1]
    study.record.delete_file(other.run.weights)
    with pytest.raises(StorageError, match=f"'kdsearch replay {other.number} pets --keep' trains it again"):
        study.export(wanted=Wanted(trial=other.number))


def test_some_forms_replace_all_of_an_earlier_export(study):
    study.export()
    study.export(force=True, wanted=Wanted(forms=("onnx",)))
    names = {path.name for path in (study.folder / "best").iterdir()}
    assert names == {"README.md", "config.json", "confusion.png", "student.onnx"}
    card = (study.folder / "best" / "README.md").read_text()
    assert card.count("```python") == 1
    assert "onnxruntime" in card


def test_the_card_has_each_class_and_the_intervals(study):
    exported = study.export()
    test, card = exported.test, (study.folder / "best" / "README.md").read_text()
    counts = np.array(test.confusion)
    assert (counts.sum(), np.trace(counts) / TEST) == (TEST, pytest.approx(test.accuracy))
    for name, row, right in zip("01", counts, np.diag(counts), strict=True):
        assert f"| {name} | {row.sum()} | {100 * right / row.sum():.1f} % |" in card
    low, high = test.intervals["accuracy"]
    assert low < test.accuracy < high or test.accuracy in (0, 1)
    assert (
        f"| test | {TEST} | {100 * test.accuracy:.2f} % | {100 * low:.2f} % to {100 * high:.2f} % |" in card
    )
    assert re.search(r"\| student.onnx, ONNX Runtime, one thread .* \| 32 \| \d+\.\d\d \| [\d,]+ \|", card)
    with Image.open(study.folder / "best" / "confusion.png") as picture:
        assert min(picture.size) > 200


def test_a_study_that_does_not_flip_has_no_mirrored_views(study, said):
    kept = study_facts(study.trials).study
    study.trials.set_user_attr("study", kept | {"augmentation": kept["augmentation"] | {"flip": False}})
    exported = study.export()
    assert (exported.validation_mirrored, exported.test.mirrored) == (None, None)
    for text in (said(exported), (study.folder / "best" / "README.md").read_text()):
        assert "mirrored" not in text


def test_a_test_split_that_an_older_kdsearch_read_is_not_read_again(study, said):
    final = FinalTest(accuracy=0.5, images=TEST, copies=0, read="2026-11-21")
    keep_final_test(study.trials, Trials.of(study.trials).best.number, final)
    exported = study.export()
    assert exported.test == final
    assert f"with mirrored views: validation {100 * exported.validation_mirrored:.2f} %\n" in said(exported)


def test_the_test_split_is_read_once_and_what_it_said_is_remembered(study, heard):
    judged = study.judge(heard)
    assert (judged.test.images, judged.note) == (TEST, "")
    study.remove_test_split()
    assert study.judge(heard).test == judged.test
    exported = study.export()
    assert (exported.test, exported.notes) == (judged.test, ())


def test_without_a_test_split_the_export_says_why_it_was_not_read(study, heard):
    study.remove_test_split()
    exported = study.export()
    assert exported.test is None
    (note,) = exported.notes
    assert note.startswith("The test split was not read: ")
    assert note in (study.folder / "best" / "README.md").read_text()
    judged = study.judge(heard)
    assert (judged.test, judged.note) == (None, note)


def test_no_test_reads_nothing_and_remembers_nothing(study, heard):
    judged = study.judge(heard, test=False)
    assert (judged.test, judged.note, judged.published) == (None, "", PUBLISHED)
    words = ["export-best", "pets", "--no-test", "--storage", study.url, "--data", str(study.pictures)]
    done = CliRunner().invoke(main, [*words, "--out", str(study.folder / "best")])
    assert done.exit_code == 0, done.output
    assert ", test not read\n" in done.stdout
    study.remove_test_split()
    assert study.judge(heard).test is None  # nothing was read that could be remembered


@pytest.mark.parametrize(
    ("running", "state"), [(True, "still running"), (False, "not finished")], ids=["running", "left"]
)
def test_an_export_in_the_middle_of_a_search_says_so(study, running, state):
    settle_target(study.trials, TRIALS + 3, TRIALS, None)
    if running:
        attributes = attributes_of(TrialFacts.of_run(Run(SEARCH, TRIALS, 0)))
        study.trials.add_trial(create_trial(state=TrialState.RUNNING, user_attrs=attributes))
    note = (
        f"The search was {state} when this was exported: the best of {TRIALS} of {TRIALS + 3} trials so far."
    )
    assert study.export(test=False).notes == (note,)


def test_other_images_than_the_studys_judge_nothing(study, heard):
    (study.pictures / "training" / "0" / "0.png").unlink()
    for judge in (study.export, lambda: study.judge(heard)):
        with pytest.raises(DataError, match="not the images that study 'pets' was created with; name"):
            judge()
    assert not (study.folder / "best").exists()


def test_a_training_that_diverged_is_judged_in_one_line(pets, tmp_path, heard):
    pets(tmp_path)
    search(tmp_path, **{"training.learning_rate": 1e30, "training.optimizer": "sgd"})
    study = Study(tmp_path)
    with pytest.raises(NothingFinishedError, match="study 'pets': the training diverged; lower "):
        study.judge(heard)
    study.record.engine.dispose()
