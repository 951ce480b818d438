def test_an_empty_file_is_a_study_named_after_it(study):
    empty = study("")
    assert (empty.name, empty.seed, empty.max_params) == ("mine", 0, 60_000)
    assert empty.data.name == "digits"


def test_a_value_is_fixed_a_list_is_a_choice_a_range_is_a_range_and_absent_is_the_class_s_own(study):
    training = study(
        '[training]\nepochs = 7\noptimizer = ["adamw", "sgd"]\nwarmup = { low = 0.0, high = 0.5 }'
    ).training
    assert training.fixed["epochs"] == 7
    assert training.possible("optimizer") == ("adamw", "sgd")
    assert str(training.searched["warmup"]) == "0 to 0.5"
    assert str(training.searched["learning_rate"]) == "0.001 to 0.03, log"
    assert training.fixed["batch_size"] == 64


def test_a_list_of_one_is_fixed(study):
    assert study("[training]\nepochs = [7]").training.fixed["epochs"] == 7


def test_an_integer_will_do_for_a_number(study):
    assert study("[training]\nlearning_rate = 1").training.make({"weight_decay": 0.1}).learning_rate == 1.0


def test_only_listed_families_and_losses_have_spaces(study):
    small = study('[student]\nfamily = "dwsep"\n[distillation]\nloss = "ce"')
    assert set(small.families) == {"dwsep"}
    assert small.losses == {}
    assert "kl.temperature" not in small.parameters()


def test_parameters_are_numbers_or_choices(study):
    kinds = study('[training]\noptimizer = ["adamw", "sgd"]\nbatch_size = [32, 64]').parameters()
    assert kinds["training.optimizer"] == "choice"
    assert kinds["training.batch_size"] == "number"
    assert kinds["training.learning_rate"] == "number"
    assert "training.epochs" not in kinds


def test_the_longest_training_is_known(study):
    assert study("[training]\nepochs = { low = 3, high = 9 }").max_epochs == 9
    assert study("[training]\nepochs = [3, 12, 5]").max_epochs == 12


def test_replaced_values_stand_above_the_file_s(study):
    changed = study(
        "[training]\nepochs = 3", **{"training.epochs": 5, "name": "other", "losses.kl.temperature": 2.0}
    )
    assert changed.training.fixed["epochs"] == 5
    assert changed.name == "other"
    assert changed.losses["kl"].fixed["temperature"] == 2.0


def test_one_end_of_a_range_can_be_replaced(study):
    changed = study("[training]\nepochs = { low = 3, high = 9 }", **{"training.epochs.high": 20})
    assert changed.training.possible("epochs") == (3, 20)
