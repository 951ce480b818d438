from functools import partial

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FixedTrial, create_trial

from kdsearch.mirror.study_rows import trial_rows
from kdsearch.models.student import build_student
from kdsearch.models.width import GRAIN
from kdsearch.phases.bench import Bench
from kdsearch.phases.suggest import Draw, always_sampled, suggest_config
from kdsearch.store.facts import StudentFacts, TrialFacts, attributes_of
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.trials import StudyTrial, Trials
from kdsearch.study.file import load_study

WIDE = {
    "budget": {"max_params": 20_000},
    "student": {
        "growth": {"low": 1.2, "high": 1.6},
        "stages": [1, 2, 3],
        "activation": ["relu", "silu"],
        "downsampling": ["stride", "pool"],
    },
    "training": {"optimizer": ["adamw", "sgd"], "batch_size": [32, 64], "epochs": {"low": 2, "high": 9}},
}


@pytest.fixture
def bench(small, prepared, url):
    return Bench(small(**WIDE), prepared, StudyRecord(url, "small"), lambda: False)


@pytest.fixture
def drawn_by():
    """The draw of a trial whose parameters are sampled by this seed, and its config."""

    def one(seed, bench):
        trial = Draw(optuna.create_study(sampler=RandomSampler(seed=seed)).ask(), bench.study)
        return trial, trial.config(bench)

    return one


@pytest.fixture
def draw(drawn_by, bench):
    return partial(drawn_by, bench=bench)


@pytest.fixture
def drawn(draw):
    return [draw(seed) for seed in range(40)]


def test_alpha_and_a_loss_s_own_fields_have_an_effect_only_beside_that_loss(drawn):
    for trial, config in drawn:
        distils = config.loss == "kl"
        assert ("distillation.alpha" in trial.active) == distils == ("kl.temperature" in trial.active)
        assert (config.alpha > 0) == distils == bool(config.losses)
        assert not distils or config.alpha == trial.values["distillation.alpha"]


def test_which_teacher_has_an_effect_only_beside_a_loss_that_reads_one(drawn_by, small, prepared, url):
    tables = {**WIDE, "teachers": {"a": {}, "b": {}}, "distillation": {"teacher": ["a", "b", "a+b"]}}
    bench = Bench(small(**tables), prepared, StudyRecord(url, "small"), lambda: False)
    seen = set()
    for seed in range(40):
        trial, config = drawn_by(seed, bench)
        assert ("distillation.teacher" in trial.active) == bool(config.losses)
        seen.add(config.teachers)
    assert seen == {(), ("a",), ("b",), ("a", "b")}


def test_a_depth_has_an_effect_only_if_the_stage_is_there(drawn):
    for trial, config in drawn:
        stages = trial.values["student.stages"]
        depths = [f"student.depth_{stage}" for stage in (1, 2, 3, 4)]
        assert [depth in trial.active for depth in depths] == [stage <= stages for stage in (1, 2, 3, 4)]
        assert config.student.depths == tuple(trial.values[depth] for depth in depths[:stages])


def test_a_family_s_own_fields_have_an_effect_only_beside_that_family(drawn):
    for trial, config in drawn:
        tables = {name.partition(".")[0] for name in trial.active} & {"plain", "dwsep"}
        assert tables == {config.student.family}


def test_a_shortcut_has_an_effect_only_around_blocks_without_one(drawn_by, small, prepared, url):
    around = {
        "family": ["plain", "inverted"],
        "shortcut": ["none", "pool"],
        "scale": [False, True],
        "excitation": [False, True],
    }
    bench = Bench(small(student=around), prepared, StudyRecord(url, "small"), lambda: False)
    for seed in range(40):
        trial, config = drawn_by(seed, bench)
        plain = config.student.family == "plain"
        pool = plain and trial.values["student.shortcut"] == "pool"
        assert ("student.shortcut" in trial.active) == ("student.excitation" in trial.active) == plain
        assert ("student.scale" in trial.active) == pool == (config.student.shortcut == "pool")
        assert config.student.scale == (pool and trial.values["student.scale"])


def test_what_has_no_effect_changes_no_config(drawn, bench):
    without = next(trial.values for trial, config in drawn if config.loss == "ce")
    one, other = (
        suggest_config(FixedTrial(without | {"distillation.alpha": alpha, "kl.temperature": 3.0}), bench)
        for alpha in (0.2, 0.8)
    )
    assert one.key == other.key


def test_every_trial_samples_every_parameter(drawn, bench):
    for trial, _ in drawn:
        assert list(trial.values) == list(bench.study.parameters())
        assert set(trial.active) <= set(trial.values)


def test_options_that_outnumber_the_rest_are_sampled_only_if_they_have_an_effect(
    drawn_by, small, prepared, url
):
    many = ["plain", "dwsep", "inverted", "grouped", "fire", "shuffle", "xception", "ghost", "convnext"]
    losses = ["ce", "kl", "rkd", "dkd", "dist"]
    study = small(student={"family": many}, distillation={"loss": losses})
    shared = always_sampled(study)
    assert "distillation.alpha" in shared
    assert {name.partition(".")[0] for name in shared} == {"student", "training", "distillation"}
    bench = Bench(study, prepared, StudyRecord(url, "small"), lambda: False)
    for seed in range(20):
        trial, config = drawn_by(seed, bench)
        others = {name.partition(".")[0] for name in trial.values.keys() - set(shared)}
        assert others == {config.student.family, *config.losses}
        assert trial.values.keys() - set(shared) <= set(trial.active)


@pytest.mark.parametrize("name", ["digits", "food11", "cifar10", "fashion-mnist"])
def test_shipped_studies_sample_everything_always(name):
    study = load_study(name, {})
    assert always_sampled(study) == list(study.parameters())


def test_the_sampler_models_all_parameters_together(create, worker):
    study = create(target=6, distillation={"loss": ["ce", "kl"]})
    work = worker()
    work.work()
    together = IntersectionSearchSpace(include_pruned=True).calculate(study)
    assert list(together) == sorted(work.bench.study.parameters())
    assert {"distillation.alpha", "kl.temperature", "plain.kernel", "dwsep.kernel"} <= together.keys()


def test_a_trial_shows_what_has_an_effect(create, worker):
    study = create(target=2)
    worker().work()
    without, taught = Trials.of(study)
    assert "kl.temperature" in without.frozen.params
    assert "kl.temperature" not in without.params
    assert taught.params["kl.temperature"] == 4.0
    rows = trial_rows(Trials.of(study))
    assert [row.params["distillation.alpha"] for row in rows] == [0.0, 0.5]
    assert ["kl.temperature" in row.params for row in rows] == [False, True]


def test_a_trial_of_an_earlier_version_shows_all_that_it_has():
    params = {"student.family": "plain", "training.learning_rate": 0.01}
    distributions = {
        "student.family": CategoricalDistribution(("plain", "dwsep")),
        "training.learning_rate": FloatDistribution(1e-3, 1e-2),
    }
    student = StudentFacts(config={"loss": "ce"}, parameters=5, macs=7)
    old = create_trial(
        value=0.5,
        params=params,
        distributions=distributions,
        user_attrs=attributes_of(TrialFacts.of_run(Run(SEARCH, 0, 0), student=student)),
    )
    assert StudyTrial.of(old).params == params


def test_integers_are_asked_as_integers(drawn):
    epochs = {config.training.epochs for _, config in drawn}
    assert epochs <= set(range(2, 10))
    assert len(epochs) > 3


def test_the_same_seed_draws_the_same(draw):
    assert draw(7)[1] == draw(7)[1]


# The fixtures hold nothing that a draw changes.
@settings(max_examples=100, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_no_draw_is_over_the_budget_nor_wastes_it(draw, bench, seed):
    trial, config = draw(seed)
    parameters = sum(tensor.numel() for tensor in build_student(config.student).parameters())
    assert parameters <= trial.values["student.fraction"] * bench.study.max_params
    wider = config.student.model_copy(update={"width": config.student.width + 1 / GRAIN})
    assert (
        sum(t.numel() for t in build_student(wider).parameters())
        > trial.values["student.fraction"] * bench.study.max_params
    )
