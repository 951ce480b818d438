"""A study whose trials were never trained: invented numbers in the form that a search leaves behind."""

import random
from datetime import datetime, timedelta

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from kdsearch.epoch import EpochResult
from kdsearch.run.creating import create_study
from kdsearch.store import identity
from kdsearch.store.facts import DataFacts, TeacherFacts, TrialFacts, attributes_of, keep
from kdsearch.store.finalists import pack
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import FINALISTS, SEARCH, Candidate, Run
from kdsearch.store.storage import open_storage
from kdsearch.store.studies import study_of
from kdsearch.store.trials import Trials
from kdsearch.study.file import Study
from kdsearch.tables import FinalistsConfig

TABLES = {
    "student": {"family": ["plain", "dwsep", "inverted"]},
    "distillation": {"loss": ["ce", "kl", "rkd"]},
    "training": {"epochs": 12},
}
FINALISTS_COUNT, SEEDS = 3, 4
BEGUN = datetime(2026, 1, 1)  # noqa: DTZ001  Optuna's times are local ones without a zone
SPACE: dict[str, BaseDistribution] = {
    "student.family": CategoricalDistribution(TABLES["student"]["family"]),
    "distillation.loss": CategoricalDistribution(TABLES["distillation"]["loss"]),
    "distillation.alpha": FloatDistribution(0.1, 0.9),
    "training.learning_rate": FloatDistribution(1e-3, 3e-2, log=True),
    "kl.temperature": FloatDistribution(1, 20, log=True),
    "rkd.distance": FloatDistribution(1, 100, log=True),
    "rkd.angle": FloatDistribution(1, 100, log=True),
}


def invent(url: str, trials: int, name: str = "invented") -> optuna.Study:
    """A study of so many trials in the database of that URL; two of five are pruned at epoch 5."""
    study = Study({"name": name, **TABLES}, "invented.toml")
    facts = DataFacts(
        name="digits",
        fingerprint="f" * 20,
        train=1149,
        validation=288,
        classes=tuple("0123456789"),
        image_size=8,
        channels=1,
    )
    found = create_study(open_storage(url, create=True), study, facts, 2)
    teacher = TeacherFacts(
        model="resnet18", origin="trained", parameters=11_181_642, accuracy=0.97, fingerprint="f" * 64
    )
    keep(found, teachers={"teacher": teacher})
    identity.settle_target(found, trials, 0, 100)
    record, chance = StudyRecord(url, name), random.Random(0)
    made = []
    for number in range(trials):
        trial, curve = _trial(number, chance)
        made.append(trial)
        for epoch, accuracy in enumerate(curve):
            record.epoch(Run(SEARCH, number, 0), _result(number, epoch, accuracy))
    found.add_trials(made)
    _add_finalists(found, record, chance)
    record.engine.dispose()
    return found


def _add_finalists(study: optuna.Study, record: StudyRecord, chance: random.Random) -> None:
    """The best trials trained again, in turn with each seed."""
    best = Trials.of(study).ranked[:FINALISTS_COUNT]
    wanted = [(trial, seed) for seed in range(SEEDS) for trial in best]
    places = [Candidate(trial=trial.number, epochs=12, seed=seed) for trial, seed in wanted]
    keep(study, finalists=FinalistsConfig(count=FINALISTS_COUNT, seeds=SEEDS), candidates=places)
    own = study_of(study, FINALISTS)
    for place, (trial, _) in enumerate(wanted):
        run, accuracy = Run(FINALISTS, place, 0), trial.accuracy - 0.02 * chance.random()
        student = trial.facts.student
        facts = TrialFacts.of_run(run, candidate=places[place], student=student, val_loss=1 - accuracy)
        own.add_trial(create_trial(value=accuracy, user_attrs=attributes_of(facts)))
        record.put_file(run.correct, pack([True] * 288))
        for epoch in range(12):
            record.epoch(run, _result(place, epoch, accuracy * (1 - 0.6 ** (epoch + 1))))


def _trial(number: int, chance: random.Random) -> tuple[FrozenTrial, list[float]]:
    params = {name: _drawn(space, chance) for name, space in SPACE.items()}
    loss = params["distillation.loss"]
    rkd = {"rkd.distance", "rkd.angle"}
    lacked = {"kl": rkd, "rkd": {"kl.temperature"}}
    for key in lacked.get(loss, {*rkd, "kl.temperature", "distillation.alpha"}):
        del params[key]
    size, macs = chance.randint(20_000, 60_000), chance.randint(10**6, 10**7)
    top = 0.7 + 0.2 * size / 60_000 + 0.05 * chance.random() + (0.04 if loss != "ce" else 0.0)
    curve = [top * (1 - 0.6 ** (epoch + 1)) for epoch in range(11)] + [top]
    pruned = chance.random() < 0.4
    began = BEGUN + timedelta(seconds=20 * number)
    config = {
        "student": {"family": params["student.family"]},
        "loss": loss,
        "losses": {} if loss == "ce" else {loss: {}},
        "alpha": params.get("distillation.alpha", 0.0),
        "teacher": "teacher",
        "training": {"epochs": 12},
    }
    provenance = {"commit": "unknown", "versions": "python==3.11", "device": "cpu", "threads": "1"}
    student = {"config": config, "parameters": size, "macs": macs, "seed": number, **provenance}
    trial = create_trial(
        state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
        value=None if pruned else top,
        params=params,
        distributions={key: SPACE[key] for key in params},
        user_attrs={"slot": number, "attempt": 0, "student": student, "val_loss": 1 - top},
        intermediate_values=dict(enumerate(curve[:6] if pruned else curve)),
    )
    trial.datetime_start, trial.datetime_complete = began, began + timedelta(seconds=15)
    return trial, curve[:6] if pruned else curve


def _drawn(space: BaseDistribution, chance: random.Random) -> float | str:
    if isinstance(space, CategoricalDistribution):
        return str(chance.choice(space.choices))
    assert isinstance(space, FloatDistribution)
    return space.low * (space.high / space.low) ** chance.random()


def _result(number: int, epoch: int, accuracy: float) -> EpochResult:
    return EpochResult(
        epoch=epoch,
        train_loss=2 / (epoch + 1),
        parts={"ce": 1 / (epoch + 1)},
        val_loss=2 / (epoch + 1),
        val_accuracy=accuracy,
        learning_rate=0.01,
        images_per_second=1000.0,
        seconds=1.0,
        finished_at=BEGUN.timestamp() + 20 * number + epoch,
    )
