import copy

import pytest
from optuna.pruners import MedianPruner, NopPruner
from optuna.trial import TrialState, create_trial

from kdsearch.phases.samplers import make_pruner, make_sampler, warmup_epochs


@pytest.mark.parametrize(("epochs", "warm"), [(1, 3), (10, 3), (12, 4), (30, 9), (31, 10)])
def test_nothing_is_pruned_in_the_first_30_percent_nor_in_3_epochs(epochs, warm):
    assert warmup_epochs(epochs) == warm


@pytest.mark.parametrize(("name", "kind"), [("none", NopPruner), ("median", MedianPruner)])
def test_pruners_by_name(name, kind):
    assert isinstance(make_pruner(name, 12), kind)


def test_a_slot_keeps_its_bracket_whatever_its_trial_s_number(create):
    study, pruner = create(), make_pruner("hyperband", 100)
    trials = [create_trial(state=TrialState.RUNNING, user_attrs={"slot": 3, "attempt": 0}) for _ in range(2)]
    for trial in trials:
        study.add_trial(trial)
    pruner.prune(study, copy.copy(study.trials[0]))
    first, second = study.trials
    assert pruner._get_bracket_id(study, first) == pruner._get_bracket_id(study, second)


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_a_sampler_s_draws_depend_on_its_seed_alone(create, name):
    draws = []
    for seed in (2**62, 2**62, 5):
        study = create()
        study.sampler = make_sampler(name, seed)
        study._thread_local.in_optimize_loop = True
        draws.append(study.ask().suggest_float("x", 0, 1))
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(("name", "kind"), [("none", NopPruner), ("median", MedianPruner)])
def test_a_worker_asks_the_pruner_that_its_study_names(create, worker, name, kind):
    create(search={"pruner": name})
    assert type(worker().study.pruner) is kind
