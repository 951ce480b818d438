"""The model card: the README.md of an export."""

import optuna

from kdsearch.config import Record
from kdsearch.deliver.student_source import LOADING
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
    notes: tuple[str, ...] = ()  # what else the reader must know, one sentence each


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
        notes=notes,
    )


def model_card(facts: CardFacts) -> str:
    """The card as Markdown; its code runs in the folder of the export."""
    parts = (_head(facts), _accuracy(facts), _input(facts), _loading(facts), _origin(facts))
    return "\n".join(parts)


def _head(facts: CardFacts) -> str:
    notes = "".join(f"\n{escaped(note)}\n" for note in facts.notes)
    classes, size = facts.data.classes, facts.data.image_size
    named = f"{len(classes)} classes ({escaped(class_names(classes))})"
    chosen = f"the best of {facts.trials:,} finished trials"
    if facts.finalist:
        chosen = f"the winner of {facts.finalist.finalists:,} finalists from {facts.trials:,} finished trials"
    return (
        f"# {escaped(facts.study)}: a student of {facts.parameters:,} parameters\n\n"
        f"An image classifier for {named}, which kdsearch found as "
        f"{chosen} with at most {facts.max_params:,} parameters. It has "
        f"{facts.parameters:,} and takes {facts.macs:,} multiply-adds for an image of "
        f"{size} x {size}.\n{notes}"
    )


def _accuracy(facts: CardFacts) -> str:
    seeds = f", mean of {facts.finalist.seeds} seeds" if facts.finalist else ""
    rows = [f"| validation | {facts.data.validation:,} | {_percent(facts.validation_accuracy)} |"]
    if facts.finalist:
        rows.append(f"| validation{seeds} | {facts.data.validation:,} | {_percent(facts.finalist.mean)} |")
    if facts.test:
        rows.append(f"| test | {facts.test.images:,} | {_percent(facts.test.accuracy)} |")
        if seeds:
            rows.append(f"| test{seeds} | {facts.test.images:,} | {_percent(facts.test.mean)} |")
    else:
        rows.append("| test | | not read |")
    rows += _mirrored(facts, seeds)
    for teacher, accuracy in facts.teachers.items():
        which = f"validation, the teacher {escaped(teacher)}"
        rows.append(f"| {which} | {facts.data.validation:,} | {_percent(accuracy)} |")
    text = "## Accuracy\n\n| images | how many | accuracy |\n|---|---:|---:|\n" + "\n".join(rows) + "\n\n"
    if facts.validation_mirrored is not None:
        text += MIRRORED
    if facts.finalist:
        text += _seeds(facts.finalist)
    text += (
        f"One validation image counts {100 / facts.data.validation:.2f} points. The validation images "
        "chose among the trials, so the accuracy on them is too optimistic"
    )
    if facts.test is None:
        return text + ".\n"
    text += f"; the test images chose nothing and were read on {facts.test.read}"
    return f"{text}. Identical to a training image: {facts.test.copies:,} of the test images.\n"


def _mirrored(facts: CardFacts, seeds: str) -> list[str]:
    """The rows of the accuracies with mirrored views that are known."""
    test, images = facts.test, facts.data.validation
    rows = [("validation", images, facts.validation_mirrored)]
    if test:
        rows.append(("test", test.images, test.mirrored))
        rows += [(f"test{seeds}", test.images, test.mirrored_mean)] if seeds else []
    return [
        f"| {name}, with mirrored views | {count:,} | {_percent(accuracy)} |"
        for name, count, accuracy in rows
        if accuracy is not None
    ]


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


def _loading(facts: CardFacts) -> str:
    shape = f"4, 3, {facts.data.image_size}, {facts.data.image_size}"
    torch_code = (
        f"import torch\n{LOADING}\nimages = torch.rand({shape})  # yours here\n"
        "with torch.inference_mode():\n    print(student(images).argmax(1))\n"
    )
    onnx_code = (
        'import numpy as np\nimport onnxruntime\n\nsession = onnxruntime.InferenceSession("student.onnx")\n'
        f"images = np.random.rand({shape}).astype(np.float32)  # yours here\n"
        '(logits,) = session.run(["logits"], {"images": images})\nprint(logits.argmax(1))\n'
    )
    return (
        "## How to load it\n\nIn this folder, with PyTorch and safetensors (`student.py` itself imports "
        f"torch alone):\n\n```python\n{torch_code}```\n\n"
        f"With ONNX Runtime, without PyTorch:\n\n```python\n{onnx_code}```\n"
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
