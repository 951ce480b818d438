from kdsearch.phases.suggest import baselines, first_trials
from kdsearch.store.trials import Trials
from kdsearch.study.file import Study


def test_there_is_a_baseline_for_each_loss_without_a_teacher_first(small):
    assert [recipe["distillation.loss"] for recipe in baselines(small())] == ["ce", "kl"]


def test_a_baseline_holds_defaults_that_lie_within_the_study(small):
    recipe = baselines(small(training={"learning_rate": {"low": 0.1, "high": 0.2}}))[0]
    assert "training.learning_rate" not in recipe
    assert recipe["training.weight_decay"] == 1e-2


def test_a_fixed_loss_is_no_parameter(small):
    assert "distillation.loss" not in baselines(small(distillation={"loss": "kl"}))[0]


def test_published_networks_follow_with_the_usual_loss(small):
    recipes = baselines(small(student={"network": ["searched", "s0-first", "mobilenet"]}))
    assert [(each["student.network"], each["distillation.loss"]) for each in recipes] == [
        ("searched", "ce"),
        ("searched", "kl"),
        ("s0-first", "kl"),
        ("mobilenet", "kl"),
    ]


def test_without_searched_networks_the_published_ones_are_all(small):
    recipes = baselines(small(student={"network": "s4"}, distillation={"loss": ["ce", "rkd"]}))
    assert [each["distillation.loss"] for each in recipes] == ["ce"]
    assert all(not name.startswith("student.") for name in recipes[0])


def test_of_choices_without_the_default_the_first_is_taken(small):
    recipe = baselines(small(student={"family": ["fire", "ghost"]}))[0]
    assert recipe["student.family"] == "fire"


def test_hand_written_trials_come_before_the_baselines_with_defaults_for_the_rest(small):
    study = small()
    study = Study({**study.tables, "first": [{"dwsep.kernel": 5, "student.family": "dwsep"}]}, "a.toml")
    first, *others = first_trials(study)
    assert others == baselines(study)
    assert first == others[-1] | {"dwsep.kernel": 5, "student.family": "dwsep"}


def test_hand_written_trials_are_enqueued_and_never_pruned(create, worker):
    study = create(target=2, name="by-hand", first=[{"student.family": "dwsep", "distillation.loss": "ce"}])
    worker(name="by-hand").work()
    by_hand, baseline = Trials.of(study)
    assert by_hand.params["student.family"] == "dwsep"
    assert baseline.params["student.family"] == "plain"
    assert by_hand.facts.baseline
