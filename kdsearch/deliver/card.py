"""The model card: the README.md of an export."""

from collections.abc import Collection, Sequence

import optuna
from pydantic import Field

from kdsearch.config import Record
from kdsearch.deliver.classes import class_section
from kdsearch.deliver.int8 import Quantised
from kdsearch.deliver.latency import Latency, latency_section
from kdsearch.deliver.loading import loading
from kdsearch.deliver.onnx_runtime import INT8
from kdsearch.deliver.winner import Winner
from kdsearch.names import escaped
from kdsearch.store.facts import DataFacts, study_facts
from kdsearch.store.final_test import FinalTest
from kdsearch.store.finalists import Finalists
from kdsearch.store.runs import SEARCH
from kdsearch.study.file import Study
from kdsearch.study.teachers import label
from kdsearch.study.trial_config import TrialConfig
from kdsearch.tables import Fit

NAMED = 20  # class names in the card; config.json has all
MIRRORED = (
    "With mirrored views the class is that of the largest mean of the probabilities (softmax) of the image "
    "and of its mirror image: twice the multiply-adds. The files here answer for one image alone.\n\n"
)


class FinalistFacts(Record):
    """What is known of a student as one of several seeds of a finalist; shares of the validation images."""

    finalists: int  # among which it won
    prefer: str  # by what
    seeds: int
    mean: float
    deviation: float | None
    interval: tuple[float, float]  # 95 %, over seeds and images
    equal: tuple[int, ...]  # the trials of other finalists that cannot be told apart from the best

    @classmethod
    def of(cls, finalists: Finalists) -> "FinalistFacts":
        winner = finalists.winner
        return cls(
            finalists=len(finalists.ranked),
            prefer=finalists.config.prefer,
            seeds=len(winner.runs),
            mean=winner.mean,
            deviation=winner.deviation,
            interval=(winner.interval.low, winner.interval.high),
            equal=tuple(each.trial for each in finalists.equal if each is not winner),
        )


class CardFacts(Record):
    """The facts in a model card. Accuracies are 0 to 1; None means not known, or not read."""

    study: str
    trial: int
    trials: int  # finished when this one was chosen
    seed: int
    params: dict[str, int | float | str | bool]
    max_params: int
    parameters: int
    macs: int
    data: DataFacts
    validation_accuracy: float
    test: FinalTest | None
    teachers: dict[str, float]  # of this trial, with their accuracies on the validation images
    versions: dict[str, str]  # by package
    commit: str | None
    phase: str = SEARCH  # in which it was trained
    training_seed: int | None = None  # of its initialisation and dropout
    fit: Fit = "crop"  # how images become squares
    finalist: FinalistFacts | None = None
    validation_mirrored: float | None = None  # accuracy with mirrored views, as in `test`
    # 95 % intervals, as in `test`
    validation_intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    validation_confusion: tuple[tuple[int, ...], ...] = ()  # as in `test`
    limits: str = ""  # within which this is the best
    is_chosen: bool = False  # whether the user named the trial
    notes: tuple[str, ...] = ()  # what else the reader must know, one sentence each

    @property
    def confusion_of(self) -> str:
        """The images that `confusion` is about: those of the test split if it was read."""
        return "test" if self.test and self.test.confusion else "validation"

    @property
    def confusion(self) -> tuple[tuple[int, ...], ...]:
        known = self.test.confusion if self.test else ()
        return known or self.validation_confusion


def card_facts(
    optuna_study: optuna.Study, winner: Winner, study: Study, final: FinalTest | None, notes: tuple[str, ...]
) -> CardFacts:
    """The facts of the winner; `final` is its score on the test split, if that was read."""
    trial, known = winner.facts, study_facts(optuna_study)
    scored = known.teachers or {}
    names = TrialConfig.model_validate(trial.config).teachers
    teachers = {label(name, scored[name].model): scored[name].accuracy for name in names if name in scored}
    return CardFacts(
        study=study.name,
        trial=winner.number,
        trials=len(winner.trials.finished),
        seed=study.seed,
        params=winner.params,
        max_params=study.max_params,
        parameters=trial.parameters,
        macs=trial.macs,
        data=known.data,
        validation_accuracy=winner.accuracy,
        test=final,
        teachers=teachers,
        versions=dict(each.split("==") for each in (trial.versions or "").split()),
        commit=None if trial.commit == "unknown" else trial.commit,
        phase=winner.run.phase,
        training_seed=trial.seed,
        fit=study.data.fit,
        finalist=FinalistFacts.of(winner.finalists) if winner.finalists else None,
        limits=winner.wanted.limits,
        is_chosen=winner.wanted.trial is not None,
        notes=notes,
    )


def model_card(
    facts: CardFacts,
    forms: Collection[str],
    latencies: Sequence[Latency] = (),
    quantised: Quantised | None = None,
) -> str:
    """The card as Markdown; its code, for each of these forms, runs in the folder of the export."""
    parts = [_head(facts), _accuracy(facts)]
    if facts.confusion:
        parts.append(class_section(facts.confusion, facts.data.classes, facts.confusion_of))
    if quantised:
        parts.append(_quantised(quantised))
    if latencies:
        parts.append(latency_section(latencies))
    return "\n".join([*parts, _input(facts), loading(forms, facts.data.image_size), _origin(facts)])


def _head(facts: CardFacts) -> str:
    notes = "".join(f"\n{escaped(note)}\n" for note in facts.notes)
    classes, size = facts.data.classes, facts.data.image_size
    named = f"{len(classes)} classes ({escaped(class_names(classes))})"
    chosen = f"the best of {facts.trials:,} finished trials"
    if facts.limits:
        chosen = f"the best with {facts.limits} of {facts.trials:,} finished trials"
    elif facts.is_chosen:
        chosen = f"one of {facts.trials:,} finished trials, which was chosen by its number,"
    elif facts.finalist:
        chosen = f"the winner of {facts.finalist.finalists:,} finalists from {facts.trials:,} finished trials"
    return (
        f"# {escaped(facts.study)}: a student of {facts.parameters:,} parameters\n\n"
        f"An image classifier for {named}, which kdsearch found as "
        f"{chosen} with at most {facts.max_params:,} parameters. It has "
        f"{facts.parameters:,} and takes {facts.macs:,} multiply-adds for an image of "
        f"{size} x {size}.\n{notes}"
    )


def _accuracy(facts: CardFacts) -> str:
    validation, test, finalist = facts.data.validation, facts.test, facts.finalist
    seeds = f", mean of {finalist.seeds} seeds" if finalist else ""
    own, of_test = facts.validation_intervals, test.intervals if test else {}
    rows = [_row("validation", validation, facts.validation_accuracy, own.get("accuracy"))]
    if finalist:
        rows.append(_row(f"validation{seeds}", validation, finalist.mean, finalist.interval))
    if test:
        rows.append(_row("test", test.images, test.accuracy, of_test.get("accuracy")))
        rows += [_row(f"test{seeds}", test.images, test.mean, of_test.get("mean"))] if seeds else []
    else:
        rows.append("| test | | not read | |")
    views = ", with mirrored views"
    rows.append(_row(f"validation{views}", validation, facts.validation_mirrored, own.get("mirrored")))
    if test:
        rows.append(_row(f"test{views}", test.images, test.mirrored, of_test.get("mirrored")))
        mean = test.mirrored_mean if seeds else None
        rows.append(_row(f"test{seeds}{views}", test.images, mean, of_test.get("mirrored_mean")))
    for teacher, accuracy in facts.teachers.items():
        rows.append(_row(f"validation, the teacher {escaped(teacher)}", validation, accuracy, None))
    table = "\n".join(filter(None, rows))
    head = "| images | how many | accuracy | 95 % interval |\n|---|---:|---:|---|"
    text = f"## Accuracy\n\n{head}\n{table}\n\n"
    if facts.validation_mirrored is not None:
        text += MIRRORED
    if finalist:
        text += _seeds(finalist)
    return text + _caution(facts)


def _row(images: str, count: int, accuracy: float | None, interval: tuple[float, float] | None) -> str:
    """A row of the accuracies; empty if this one is not known."""
    if accuracy is None:
        return ""
    span = f"{_percent(interval[0])} to {_percent(interval[1])}" if interval else ""
    return f"| {images} | {count:,} | {_percent(accuracy)} | {span} |"


def _caution(facts: CardFacts) -> str:
    text = (
        f"One validation image counts {100 / facts.data.validation:.2f} points. The validation images "
        "chose among the trials, so the accuracy on them is too optimistic"
    )
    if facts.test is None:
        return text + ".\n"
    text += f"; the test images chose nothing and were read on {facts.test.read}"
    return f"{text}. Identical to a training image: {facts.test.copies:,} of the test images.\n"


def _quantised(quantised: Quantised) -> str:
    graph = quantised.file - quantised.weights - quantised.scales
    text = (
        f"## 8 bits\n\n`{INT8}` names {_percent(quantised.accuracy)} of {quantised.images:,} validation "
        f"images right, the float network {_percent(quantised.float_accuracy)}. Its weights have a scale for "
        f"each channel, the ranges of the layers' outputs are those of training images ({quantised.method}). "
    )
    if quantised.floats:
        text += f"These layers stay float: {', '.join(map(escaped, quantised.floats))}. "
    return (
        f"{text}Of its {quantised.file:,} bytes weights and biases take {quantised.weights:,} "
        f"({quantised.weights / quantised.float_weights:.2f} of the float ones), scales and zero points "
        f"{quantised.scales:,}, the graph {graph:,}.\n"
    )


def _seeds(finalist: FinalistFacts) -> str:
    low, high = finalist.interval
    spread = "" if finalist.deviation is None else f", standard deviation {_points(finalist.deviation)}"
    equal = ", ".join(map(str, finalist.equal))
    text = (
        f"These weights are those of the seed with the median validation accuracy of {finalist.seeds}, not "
        f"of the best seed; the mean has the 95 % interval {_percent(low)} to {_percent(high)}, over seeds "
        f"and images{spread}. "
    )
    if equal:
        smaller = " It is the smallest of these." if finalist.prefer == "small" else ""
        text += f"The finalists that cannot be told apart from the best: also trial {equal}.{smaller} "
    return text + "\n\n"


def _points(deviation: float) -> str:
    return f"{100 * deviation:.2f} points"


def _input(facts: CardFacts) -> str:
    size = facts.data.image_size
    side, crop = ("shorter side", "the centre cropped") if facts.fit == "crop" else ("whole image", "no crop")
    return (
        f"## Input and output\n\nFloat32, N x 3 x {size} x {size}, in 0..1: the {side} resized to "
        f"{size} pixels (bilinear, with antialias), {crop}, gray repeated to 3 channels. The "
        "network normalises inside, so do not apply mean and deviation before. `config.json` says the same "
        "for programs.\n\n"
        f"The output is logits, N x {len(facts.data.classes)}, in the order of `classes` in `config.json`.\n"
    )


def _origin(facts: CardFacts) -> str:
    teachers = [
        f"{escaped(name)}, {_percent(share)} on the validation images"
        for name, share in facts.teachers.items()
    ]
    teacher = ("the average of " if len(teachers) > 1 else "") + (" and ".join(teachers) or "none")
    images = f"{facts.data.train:,} training and {facts.data.validation:,} validation images"
    rows = {
        "data": f"{escaped(facts.data.name)}, {images}",
        "fingerprint of the data": f"`{facts.data.fingerprint}`",
        "teacher": teacher,
        "study": f"{escaped(facts.study)}, seed {facts.seed}",
        "trial": str(facts.trial),
        "phase": facts.phase,
        "seed of these weights": "not known" if facts.training_seed is None else str(facts.training_seed),
        "versions": ", ".join(f"{package} {escaped(version)}" for package, version in facts.versions.items()),
        "commit": f"`{facts.commit}`" if facts.commit else "not known",
    }
    table = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    params = "".join(f"| `{name}` | {_setting(value)} |\n" for name, value in facts.params.items())
    return (
        f"## How it was found\n\n| | |\n|---|---|\n{table}\n"
        f"The trial's settings:\n\n| setting | value |\n|---|---|\n{params}"
    )


def class_names(classes: tuple[str, ...]) -> str:
    """The first NAMED classes, with dots if there are more."""
    return ", ".join(classes[:NAMED]) + (", ..." if len(classes) > NAMED else "")


def _setting(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else escaped(str(value))


def _percent(accuracy: float) -> str:
    return f"{100 * accuracy:.2f} %"
