"""The rows of `finds.py`: what each side trains, and what the first one is to reach."""

from typing import Any, NamedTuple

LITE0 = "lite0.safetensors"  # made by lite0.py, in the row's folder
WINNER = "winner"  # a row and one of its sides, kept in RESULTS
OF_A_TEACHER = ("losses.", "distillation.alpha", "distillation.teacher")  # mean nothing to labels alone

# Plain networks: one shape, one recipe, labels alone. `finalists` trains each with several seeds.
PLAIN = {
    "run.trials": 1,
    "search.pruner": "none",
    "distillation.loss": "ce",
    "training.learning_rate": 1e-2,
    "training.weight_decay": 1e-2,
    "student.stages": 4,
    "student.depth_1": 1,
    "student.depth_2": 2,
    "student.depth_3": 2,
    "student.depth_4": 2,
    "student.growth": 1.6,
    "student.stem_stride": 2,
    "student.full_stages": 1,
    "student.smallest_map": 4,
    "student.shortcut": "none",
    "student.excitation": False,
    "student.fraction": 1.0,
}
SEPARABLE = {**PLAIN, "student.family": "dwsep", "families.dwsep.kernel": 3}
INVERTED = {
    **PLAIN,
    "student.family": "inverted",
    "families.inverted.kernel": 3,
    "families.inverted.expansion": 4,
    "families.inverted.squeeze": True,
}


class Row(NamedTuple):
    """One row of the table: the sides by name, and what the first of them is to reach.

    That is its test accuracy, or how much higher it is than each other side's. A side whose settings have a
    WINNER trains what that side of a row found.
    """

    what: str
    study: str
    common: dict[str, Any]  # settings of all sides
    sides: dict[str, dict[str, Any]]
    reach: float
    stretch: float
    over_others: bool = False


FOOD = {
    "data.path": "food101-10_128.tar",
    "data.image_size": 64,
    "training.epochs": 30,
    "finalists.count": 3,
    "finalists.seeds": 3,
}
FROM_LITE0 = {
    **FOOD,
    "teacher.model": "timm:tf_efficientnet_lite0",
    "teacher.pretrained": LITE0,
    "teacher.image_size": 128,
    "teacher.epochs": 8,
    "teacher.learning_rate": 1e-3,
}
SEARCHED = {"search": {"run.trials": 40}, "separable": SEPARABLE, "inverted": INVERTED}
ONE_TRIAL = {"run.trials": 1, "search.pruner": "none", "finalists.count": 1}
FOUND = {**ONE_TRIAL, WINNER: "food-lite0 search"}
ROWS = {
    "food": Row(
        "food101-10, 64 px, a teacher trained on it from scratch, 40 trials",
        "food11",
        FOOD,
        SEARCHED,
        reach=0.66,
        stretch=0.70,
    ),
    "food-lite0": Row(
        "food101-10, students at 64 px, a pretrained EfficientNet-lite0 at 128 px, 40 trials",
        "food11",
        FROM_LITE0,
        SEARCHED,
        reach=0.70,
        stretch=0.74,
    ),
    "gain": Row(
        "what food-lite0 found, with and without its teacher, 8 paired seeds",
        "food11",
        {**FROM_LITE0, "finalists.seeds": 8},
        {"distilled": FOUND, "labels": {**FOUND, "distillation.loss": "ce"}},
        reach=0.02,
        stretch=0.05,
        over_others=True,
    ),
    "published": Row(
        "what food-lite0 found beside the course task's students, 128 px, 20 epochs, the same teacher",
        "food11",
        {**FROM_LITE0, "data.image_size": 128, "training.epochs": 20, "budget.max_macs": 60_000_000},
        {
            "found": FOUND,
            "s0-first": {**ONE_TRIAL, "student.network": "s0-first", "distillation.loss": "kl"},
            "s0-second": {**ONE_TRIAL, "student.network": "s0-second", "distillation.loss": "kl"},
            "mobilenet": {
                **ONE_TRIAL,
                "student.network": "mobilenet",
                "distillation.loss": "kl",
                "budget.max_params": 256_779,
            },
        },
        reach=0.04,
        stretch=0.08,
        over_others=True,
    ),
    "digits": Row(
        "digits, 100 trials, empty caches",
        "digits",
        {},
        {"search": {"run.trials": 100}},
        reach=0.985,
        stretch=0.99,
    ),
}
QUICK = {
    "data.train_images": 200,
    "training.epochs": 3,
    "views.count": 2,
    "teacher.model": "mobilenet_v3_small",
    "teacher.epochs": 1,
    "finalists.count": 1,
    "finalists.seeds": 2,
}
