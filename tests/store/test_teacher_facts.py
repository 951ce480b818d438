"""What a study with several teachers tells of them."""

from kdsearch.mirror.study_rows import study_row
from kdsearch.store.facts import keep, study_facts, trial_facts
from kdsearch.store.status import summary
from kdsearch.store.trials import Trials


def rows(study):
    return study_row(study.study_name, study_facts(study), Trials.of(study)).teachers


def test_the_summary_s_distance_is_to_the_best_teacher_and_each_has_a_row_of_its_own(create, url):
    found = create(teachers={"a": {}, "b": {"model": "vgg11_bn"}})
    assert rows(found) == {"teachers.a": {}, "teachers.b": {}}
    assert summary(found, url, ()).teacher_accuracy is None
    known = {"origin": "trained", "parameters": 1, "fingerprint": "f"}
    facts = {
        "a": {"model": "resnet18", "accuracy": 0.9, **known},
        "b": {"model": "vgg11_bn", "accuracy": 0.95, **known},
    }
    keep(found, teachers=facts)
    assert list(rows(found).values()) == list(facts.values())
    told = summary(found, url, ())
    assert (told.teacher, told.teacher_accuracy) == ("vgg11_bn", 0.95)


def test_the_only_teacher_is_called_so(create):
    assert rows(create()) == {"teacher": {}}


def test_a_trial_learns_from_the_average_that_it_drew(create, worker, prepared):
    answers = prepared.bank.teachers["teacher"]
    for number in range(prepared.bank.count):
        for field in ("logits", "embedding"):
            path = prepared.bank.path(number) / f"teacher.{field}.npy"
            for name in ("a", "b"):
                path.with_name(f"{name}.{field}.npy").write_bytes(path.read_bytes())
    prepared = prepared.model_copy(
        update={"bank": prepared.bank.model_copy(update={"teachers": {"a": answers, "b": answers}})}
    )
    found = create(2, teachers={"a": {}, "b": {}}, distillation={"teacher": "a+b", "loss": ["kl", "rkd"]})
    worker(prepared=prepared).work()
    done = [trial_facts(trial).student.config for trial in found.trials]
    assert {(config["loss"], config["teacher"]) for config in done} == {("kl", "a+b"), ("rkd", "a+b")}
