"""Facts of studies and trials: typed, and known to one module only."""

import ast
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

import kdsearch
from kdsearch.errors import StorageError
from kdsearch.store.facts import (
    Audited,
    End,
    StudentFacts,
    TrialFacts,
    attributes_of,
    final_test,
    is_whole,
    keep,
    keep_final_test,
    study_facts,
    trial_facts,
)
from kdsearch.store.final_test import FinalTest
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.trials import StudyTrial, Trials

FACTS = TrialFacts.of_run(
    Run(SEARCH, 3, 1),
    baseline=True,
    key="k",
    student=StudentFacts(config={"loss": "ce"}, parameters=5, macs=7, seed=2**40, commit="c"),
    audited=Audited(epoch=3, best=0.5),
    val_loss=0.25,
    mark=End.DIVERGED,
    reason="r",
)


def test_facts_come_back_from_the_attributes_that_hold_them():
    trial = create_trial(state=TrialState.RUNNING, user_attrs=attributes_of(FACTS) | {"another's": 1})
    assert trial_facts(trial) == FACTS
    assert trial_facts(trial).run == Run(SEARCH, 3, 1)
    assert "worker" not in trial.user_attrs


def test_what_is_kept_one_by_one_is_what_is_kept_at_once():
    study = optuna.create_study()
    trial = study.ask()
    keep(trial, **dict(FACTS))
    assert trial_facts(study.trials[0]) == FACTS


def test_a_fact_that_no_record_has_is_refused():
    with pytest.raises(AssertionError, match="colour"):
        keep(optuna.create_study(), colour="red")


@pytest.mark.parametrize("attributes", [{"worker": "alice"}, {"mark": "tired", "slot": 0, "attempt": 0}])
def test_attributes_that_are_not_kdsearch_s_are_no_facts(attributes):
    trial = create_trial(state=TrialState.RUNNING, user_attrs=attributes)
    assert trial_facts(trial) == TrialFacts()


def test_a_study_whose_facts_were_changed_is_said_in_one_line():
    study = optuna.create_study(study_name="mine")
    for name in ("data", "views", "params", "study"):
        study.set_user_attr(name, {})
    assert is_whole(study)
    with pytest.raises(StorageError, match=r"^study 'mine': its attribute data\.name in the database is not"):
        study_facts(study)


def test_the_test_split_is_kept_for_each_trial():
    study, final = optuna.create_study(), FinalTest(accuracy=0.9, images=10, copies=1, read="2026-11-26")
    keep_final_test(study, 7, final)
    assert (final_test(study, 7), final_test(study, 8)) == (final, None)


def attributes(tree):
    """The names of all attributes that a module reads or calls."""
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_no_other_module_reads_or_writes_attributes_of_optuna():
    root = Path(kdsearch.__file__).parent
    names = {"user_attrs", "set_user_attr", "set_trial_user_attr"}
    users = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if names & attributes(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert users == {"store/facts.py"}


def trial(number, accuracy, parameters, **facts):
    """A complete trial of that place, unless `facts` say otherwise."""
    student = StudentFacts(config={}, parameters=parameters, macs=1)
    frozen = create_trial(value=accuracy)
    frozen.number = number
    return StudyTrial(frozen, TrialFacts.of_run(Run(SEARCH, number, 0), student=student, **facts))


def test_the_best_is_the_most_accurate_then_by_loss_then_the_smallest():
    trials = Trials(
        [
            trial(0, 0.8, 10, val_loss=0.1),
            trial(1, 0.9, 10, val_loss=0.3),
            trial(2, 0.9, 10, val_loss=0.2),
            trial(3, 0.9, 5, val_loss=0.2),
            trial(4, 0.9, 1),
        ]
    )
    assert [each.number for each in trials.ranked] == [3, 2, 1, 4, 0]
    assert trials.best is trials[3]


def test_the_front_has_what_nothing_smaller_beats():
    sizes = ((0, 0.7, 30), (1, 0.6, 10), (2, 0.5, 20), (3, 0.9, 40), (4, 0.9, 50), (5, 0.65, 10))
    front = Trials([trial(*each) for each in sizes]).front("parameters")
    assert [each.number for each in front] == [5, 0, 3]


def test_trials_that_have_ended_are_read_once():
    study = optuna.create_study()
    study.add_trial(create_trial(value=0.5, user_attrs=attributes_of(FACTS)))
    study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs=attributes_of(FACTS)))
    before = Trials.of(study)
    after = Trials.of(study, before)
    assert after[0] is before[0]
    assert after[1] is not before[1]
    assert len(after) == 2
