import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.samplers import RandomSampler

from kdsearch.models.student import build_student
from kdsearch.phases.bench import Bench
from kdsearch.phases.suggest import suggest_config
from kdsearch.store.record import StudyRecord

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


@pytest.fixture(scope="session")
def in_memory():
    """Trials of one study in memory; each is asked of a sampler of its own."""
    return optuna.create_study(sampler=RandomSampler())


@pytest.fixture
def bench(small, prepared, url):
    return Bench(small(**WIDE), prepared, StudyRecord(url, "small"), lambda: False)


@pytest.fixture
def draw(in_memory, bench):
    def one(seed):
        in_memory.sampler = RandomSampler(seed=seed)
        trial = in_memory.ask()
        return trial, suggest_config(trial, bench)

    return one


@pytest.fixture
def drawn(draw):
    return [draw(seed) for seed in range(40)]


def test_alpha_and_a_loss_s_own_fields_are_asked_only_beside_that_loss(drawn):
    for trial, config in drawn:
        distils = config.loss == "kl"
        assert ("distillation.alpha" in trial.params) == distils == ("kl.temperature" in trial.params)
        assert (config.alpha > 0) == distils == bool(config.losses)


def test_which_teacher_is_asked_only_beside_a_loss_that_reads_one(in_memory, small, prepared, url):
    tables = {**WIDE, "teachers": {"a": {}, "b": {}}, "distillation": {"teacher": ["a", "b", "a+b"]}}
    bench = Bench(small(**tables), prepared, StudyRecord(url, "small"), lambda: False)
    seen = set()
    for seed in range(40):
        in_memory.sampler = RandomSampler(seed=seed)
        trial = in_memory.ask()
        config = suggest_config(trial, bench)
        assert ("distillation.teacher" in trial.params) == bool(config.losses)
        seen.add(config.teachers)
    assert seen == {(), ("a",), ("b",), ("a", "b")}


def test_a_depth_is_asked_only_of_a_stage_that_is_there(drawn):
    for trial, config in drawn:
        depths = [trial.params.get(f"student.depth_{stage}") for stage in (1, 2, 3, 4)]
        stages = trial.params["student.stages"]
        assert [depth is None for depth in depths] == [stage > stages for stage in (1, 2, 3, 4)]
        assert config.student.depths == tuple(depths[:stages])


def test_a_family_s_own_fields_are_asked_only_beside_that_family(drawn):
    for trial, config in drawn:
        asked = {name.partition(".")[0] for name in trial.params} & {"plain", "dwsep"}
        assert asked == {config.student.family}


def test_every_parameter_that_is_asked_was_announced(drawn, bench):
    announced = set(bench.study.parameters())
    assert set().union(*(trial.params for trial, _ in drawn)) <= announced


def test_integers_are_asked_as_integers(drawn):
    epochs = {config.training.epochs for _, config in drawn}
    assert epochs <= set(range(2, 10))
    assert len(epochs) > 3


def test_the_same_seed_draws_the_same(draw):
    assert draw(7)[1] == draw(7)[1]


# The fixtures hold nothing that a draw changes.
@settings(max_examples=300, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_no_draw_is_over_the_budget_nor_wastes_it(draw, bench, seed):
    trial, config = draw(seed)
    parameters = sum(tensor.numel() for tensor in build_student(config.student).parameters())
    assert parameters <= trial.params["student.fraction"] * bench.study.max_params
    wider = config.student.model_copy(update={"width": config.student.width + 1})
    assert (
        sum(t.numel() for t in build_student(wider).parameters())
        > trial.params["student.fraction"] * bench.study.max_params
    )
