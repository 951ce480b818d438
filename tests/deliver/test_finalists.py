"""The winning finalist is delivered: the weights of its median seed, with what all its seeds say."""

import json
import shutil
from statistics import fmean

import pytest

from kdsearch.cli.display_network import show_exported
from kdsearch.deliver.winner import find_winner
from kdsearch.mirror.study_rows import study_row, trial_rows
from kdsearch.models.weights import from_bytes
from kdsearch.run.mirroring import winner_of
from kdsearch.store.facts import study_facts
from kdsearch.store.finalists import decided, trainings_of, winning_run
from kdsearch.store.identity import settle_finalists
from kdsearch.store.status import status
from kdsearch.store.trials import Trials
from kdsearch.tables import FinalistsConfig
from tests.deliver.test_winner import TEST, Study, pets, search  # noqa: F401

SEEDS = 3


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    return tmp_path_factory.mktemp("finalists")


@pytest.fixture
def study(once, pets, tmp_path):  # noqa: F811
    if not (once / "kdsearch.db").exists():
        pets(once)
        finalists = {"finalists.count": 2, "finalists.seeds": SEEDS}
        search(once, **finalists, **{"student.shortcut": "none", "student.excitation": False})
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    study = Study(tmp_path)
    yield study
    study.record.engine.dispose()


def test_the_weights_are_those_of_the_winner_s_median_seed(study):
    won = decided(study.trials).winner
    winner = find_winner(study.trials, study.record)
    assert winner.run == won.median.run == winning_run(study.trials, Trials.of(study.trials))
    assert winner.run.phase == "finalists"
    stored = from_bytes(study.record.file(won.median.run.weights))
    assert all(winner.state[name].equal(tensor) for name, tensor in stored.items())
    assert winner.accuracy == won.median.accuracy == sorted(run.accuracy for run in won.runs)[1]


def test_the_export_says_phase_seed_and_the_mean_over_all_seeds(study):
    won = decided(study.trials).winner
    exported = study.export()
    assert (exported.trial, exported.notes) == (won.trial, ())
    assert exported.validation_accuracy == won.median.accuracy
    config = json.loads((study.folder / "best" / "config.json").read_text())
    facts = won.median.facts.student
    assert (config["phase"], config["seed"], config["trial"]) == ("finalists", facts.seed, won.trial)
    assert (exported.test.images, len(exported.test.seeds)) == (TEST, SEEDS)
    card = (study.folder / "best" / "README.md").read_text()
    assert f"| validation, mean of {SEEDS} seeds | 15 | {100 * won.mean:.2f} % |" in card
    assert f"| test, mean of {SEEDS} seeds | {TEST} | {100 * exported.test.mean:.2f} % |" in card
    assert f"| test | {TEST} | {100 * exported.test.accuracy:.2f} % |" in card
    assert exported.test.accuracy in exported.test.seeds


def test_mirrored_views_are_asked_of_all_seeds(study, capsys):
    exported = study.export()
    test = exported.test
    assert len(test.mirrored_seeds) == SEEDS
    assert test.mirrored in test.mirrored_seeds
    mean = f"{100 * fmean(test.mirrored_seeds):.2f} %"
    show_exported(exported)
    of_test = f"test {100 * test.mirrored:.2f} % ({mean} in the mean of {SEEDS} seeds)"
    assert f"with mirrored views: validation {100 * exported.validation_mirrored:.2f} %, {of_test}\n" in (
        capsys.readouterr().out
    )
    card = (study.folder / "best" / "README.md").read_text()
    assert f"| test, mean of {SEEDS} seeds, with mirrored views | {TEST} | {mean} |" in card


def test_the_test_split_is_read_once_for_all_seeds(study):
    first = study.export()
    study.remove_test_split()
    assert study.export(force=True).test == first.test


def test_without_finalists_the_best_trial_is_exported_as_before(study):
    settle_finalists(study.trials, FinalistsConfig(count=0), given=True)
    best = Trials.of(study.trials).best
    assert find_winner(study.trials, study.record).run == best.run
    exported = study.export()
    assert (exported.validation_accuracy, exported.test.seeds, exported.notes) == (best.accuracy, (), ())
    config = json.loads((study.folder / "best" / "config.json").read_text())
    assert (config["phase"], config["seed"]) == ("search", best.facts.student.seed)


def test_finalists_that_are_not_all_trained_are_a_note(study):
    settle_finalists(study.trials, FinalistsConfig(count=2, seeds=SEEDS + 1), given=True)
    facts = study_facts(study.trials)
    more = [facts.candidates[0].model_copy(update={"seed": SEEDS}).model_dump()]
    kept = [each.model_dump() for each in facts.candidates]
    study.trials.set_user_attr("candidates", kept + more)
    (note,) = study.export(test=False).notes
    assert note.startswith("The finalists were not trained when this was exported")


def test_status_shows_them_and_mlflow_gets_their_tags(study):
    table = status(study.trials, "").finalists
    won = decided(study.trials).winner
    assert (table.winner, len(table.rows), {row.seeds for row in table.rows}) == (won.trial, 2, {SEEDS})
    finalists = trainings_of(study.trials)
    rows = trial_rows(finalists)
    assert [row.run.key for row in rows] == [f"finalists.{place}.0" for place in range(2 * SEEDS)]
    assert [row.candidate for row in rows] == list(study_facts(study.trials).candidates)
    assert {row.params["finalist"] for row in rows} == {f"trial {row.trial}" for row in table.rows}
    trials = Trials.of(study.trials)
    row = study_row("pets", study_facts(study.trials), trials, winner_of(study.trials, finalists))
    assert row.winner == won.median.run.key
