from kdsearch.tracking.runs import has_run, shown, trial_params, trial_points, trial_tags


def final(points):
    return {point.key: point.value for point in points if point.key.startswith("final_")}


def test_every_trial_has_the_same_parameters(study, trial):
    ce, kl = trial(0, params={"loss": "ce", "alpha": 0}), trial(1)
    assert trial_params(study, ce) == {"loss": "ce", "alpha": "0", "kl.temperature": "NaN"}
    assert trial_params(study, kl).keys() == trial_params(study, ce).keys()
    assert trial_params(study, trial(2, params={}))["loss"] == "-"


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


def test_a_pruned_trial_tells_its_epoch(trial, epoch):
    assert trial_tags(trial(0, "PRUNED"), [epoch(1), epoch(2)])["pruned_epoch"] == "2"
    assert "pruned_epoch" not in trial_tags(trial(0, "COMPLETE"), [epoch(1)])


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
    assert has_run(trial(0, "FAIL", mark="failed"), [])
    assert has_run(trial(0, "PRUNED"), [])
