from kdsearch.mirror.runs import has_run, run_name, shown, trial_params, trial_points, trial_tags


def final(points):
    return {point.key: point.value for point in points if point.key.startswith("final_")}


def test_a_name_says_number_family_loss_size_and_end(study, trial, epoch):
    named = {
        state: run_name(study, trial(41, state, value=0.99653), [epoch(5)])
        for state in ("RUNNING", "COMPLETE", "PRUNED", "FAIL")
    }
    assert named == {
        "RUNNING": "041 plain kl 50.3k",
        "COMPLETE": "041 plain kl 50.3k 99.65",
        "PRUNED": "041 plain kl 50.3k pruned at epoch 5",
        "FAIL": "041 plain kl 50.3k failed",
    }


def test_the_best_has_a_star(study, trial):
    best = study.model_copy(update={"best": "41.0"})
    assert run_name(best, trial(41, "COMPLETE"), []) == "\N{BLACK STAR} 041 plain kl 50.3k 90.00"
    assert run_name(best, trial(42, "COMPLETE"), []) == "042 plain kl 50.3k 90.00"


def test_a_trial_has_its_own_parameters_rounded(trial):
    assert trial_params(trial(0, params={"loss": "ce", "rate": 0.0123456789, "depth": 3})) == {
        "loss": "ce",
        "rate": "0.0123457",
        "depth": "3",
    }


def test_accuracy_comes_first(trial, epoch):
    assert next(trial_points(trial(0, "COMPLETE"), [epoch(1)])).key == "final_accuracy"
    assert next(trial_points(trial(0), [epoch(1)])).key == "val_accuracy"


def test_tags_say_what_there_is_to_say(study, trial, epoch):
    ran = {"commit": "abc", "device": "cpu"}
    tags = trial_tags(study, trial(0, "COMPLETE", tags=ran), [epoch(1)], {"commit": "abc", "device": "cuda"})
    assert (tags["family"], tags["loss"], tags["device"]) == ("plain", "kl", "cpu")
    assert not {"commit", "mark", "reason"} & tags.keys()
    failed = trial_tags(study, trial(0, "FAIL", mark="failed", reason="out of memory"), [], {})
    assert (failed["mark"], failed["reason"]) == ("failed", "out of memory")
    assert "-" not in {*tags.values(), *failed.values()}


def test_only_complete_trials_have_final_values(trial, epoch):
    results = [epoch(1), epoch(2)]
    assert final(trial_points(trial(0, "COMPLETE"), results)) == {"final_accuracy": 0.9, "final_loss": 0.2}
    for state in ("RUNNING", "PRUNED", "FAIL"):
        assert final(trial_points(trial(0, state, value=0.4), results)) == {}


def test_points_are_the_same_whenever_they_are_asked_for(trial, epoch):
    short, long = [epoch(1)], [epoch(1), epoch(2)]
    early, late = set(trial_points(trial(0), short)), set(trial_points(trial(0), long))
    assert early < late


def test_a_point_has_the_record_s_time_and_epoch(trial, epoch):
    (loss,) = [point for point in trial_points(trial(0), [epoch(2)]) if point.key == "train_kl"]
    assert loss == ("train_kl", 0.25, 1_700_000_002_125, 2)


def test_a_pruned_trial_tells_its_epoch(study, trial, epoch):
    assert trial_tags(study, trial(0, "PRUNED"), [epoch(1), epoch(2)], {})["pruned_epoch"] == "2"
    assert "pruned_epoch" not in trial_tags(study, trial(0, "COMPLETE"), [epoch(1)], {})


def test_surplus_duplicate_and_waiting_trials_are_not_shown(trial):
    rows = [
        trial(0),
        trial(1, "FAIL", mark="surplus"),
        trial(2, "FAIL", mark="duplicate"),
        trial(3, "WAITING"),
    ]
    assert shown(rows) == rows[:1]


def test_a_retry_takes_the_place_of_the_trial_that_died(trial):
    dead, retry = trial(0, "FAIL", slot=5), trial(1, slot=5)
    assert shown([dead, retry]) == [retry]
    assert shown([dead, retry, trial(2, slot=5, attempt=1)])[1].number == 2


def test_a_retry_without_its_parameters_or_beside_a_finished_trial_waits(trial):
    dead, empty = trial(0, "FAIL", slot=5), trial(1, slot=5, params={})
    done, late = trial(2, "COMPLETE", slot=6), trial(3, slot=6)
    assert shown([dead, empty, done, late]) == [dead, done]


def test_a_trial_has_a_run_once_it_trained_or_will_never_train(trial, epoch):
    assert not has_run(trial(0), [])
    assert not has_run(trial(0, "FAIL", mark="interrupted"), [])
    assert has_run(trial(0), [epoch(1)])
    assert has_run(trial(0, "FAIL", failed=True), [])
    assert has_run(trial(0, "PRUNED"), [])


def test_an_audited_trial_tells_the_epoch_and_not_as_a_place_where_it_ran(study, trial):
    audited = trial(0, "COMPLETE", audited_epoch=3)
    assert trial_tags(study, audited, [], {})["audited_epoch"] == "3"
    assert audited.tags == {}
