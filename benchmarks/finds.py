"""What kdsearch finds, beside one plain network that an engineer writes down in a minute.

    python benchmarks/finds.py              the rows, and what is kept of each
    python benchmarks/finds.py food         one row: at most two hours a call, then the same command goes on
    python benchmarks/finds.py food --quick   a few tiny trainings; keeps nothing

Both sides of a row have the same images, epochs, budget and teacher, each is a study of its own, searched and
trained by `kdsearch run`, and their finalists have several seeds. The test images of a side are read once, at
its end. Keeps `benchmarks/results/finds/ROW.json`: settings, versions and commit, each seed's curve, the
validation accuracy with its interval, the test accuracy of each seed, and the seconds of all calls.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from paired import Kept, machine

RESULTS = Path(__file__).parent / "results" / "finds"
LIMIT_SECONDS = 7_200
STORAGE = "sqlite:///kdsearch.db"
STOPPED = 128 + signal.SIGTERM

LITE0 = "lite0.safetensors"  # made by lite0.py, in the row's folder

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
    """One row of the table: the sides by name, and the test accuracy that the search is to reach."""

    what: str
    study: str
    common: dict[str, Any]  # settings of all sides
    sides: dict[str, dict[str, Any]]
    reach: float
    stretch: float


FOOD = {
    "data.path": "food101-10_128.tar",
    "data.image_size": 64,
    "training.epochs": 30,
    "finalists.count": 3,
    "finalists.seeds": 3,
}
ROWS = {
    "food": Row(
        "food101-10, 64 px, a teacher trained on it from scratch, 40 trials",
        "food11",
        FOOD,
        {"search": {"run.trials": 40}, "separable": SEPARABLE, "inverted": INVERTED},
        reach=0.66,
        stretch=0.70,
    ),
    "food-lite0": Row(
        "food101-10, students at 64 px, a pretrained EfficientNet-lite0 at 128 px, 40 trials",
        "food11",
        {
            **FOOD,
            "teacher.model": "timm:tf_efficientnet_lite0",
            "teacher.pretrained": LITE0,
            "teacher.image_size": 128,
            "teacher.epochs": 8,
            "teacher.learning_rate": 1e-3,
            "teacher.body_rate": 0.3,
        },
        {"search": {"run.trials": 40}, "separable": SEPARABLE, "inverted": INVERTED},
        reach=0.70,
        stretch=0.74,
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
    "run.trials": 2,
    "finalists.count": 1,
    "finalists.seeds": 2,
}


def settings_of(row: Row, side: str, folder: Path, *, quick: bool) -> dict[str, Any]:
    values = {**row.common, **row.sides[side]}
    if quick:  # with a small teacher of its own
        values = {key: value for key, value in values.items() if not key.startswith("teacher.")} | QUICK
    if "data.path" in values:
        values["data.path"] = str(unpacked(folder, values["data.path"]))
    if values.get("teacher.pretrained") == LITE0:
        values["teacher.pretrained"] = str(written(folder / LITE0))
    return values


def unpacked(folder: Path, file: str) -> Path:
    """The folder of a tar's images. Raises SystemExit if KDSEARCH_TEST_DATA does not name its place."""
    root = os.environ.get("KDSEARCH_TEST_DATA")
    if root is None:
        raise SystemExit(f"KDSEARCH_TEST_DATA is not set: it names the folder of {file}")
    path = folder / Path(file).stem
    if not path.exists():
        unfinished = path.with_suffix(".unfinished")
        unfinished.mkdir(parents=True, exist_ok=True)
        subprocess.run(["tar", "-xf", str(Path(root) / file), "-C", str(unfinished)], check=True)
        unfinished.rename(path)
    return path


def written(path: Path) -> Path:
    """The file of the pretrained network, made if it is not there."""
    if not path.exists():
        subprocess.run([sys.executable, str(Path(__file__).with_name("lite0.py")), str(path)], check=True)
    return path


def search(row: Row, side: str, values: Mapping[str, Any], folder: Path, until: float) -> bool:
    """Runs a side, or goes on with it, until it is done or the time is over; says whether it is done."""
    settings = [f"--set={key}={json.dumps(value)}" for key, value in values.items()]
    command = [sys.executable, "-m", "kdsearch", "run", row.study, "--name", side, *settings]
    process = subprocess.Popen(command, cwd=folder)
    try:
        code = process.wait(timeout=max(1.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.terminate()
        code = process.wait()
    if code not in (0, STOPPED):
        raise SystemExit(f"kdsearch run {side} ended with {code}")
    return code == 0


def outcome(side: str, folder: Path) -> dict[str, Any]:
    """What a finished side found: its winner, and what the validation and the test images say of it."""
    from kdsearch import api  # noqa: PLC0415  after the folders are named
    from kdsearch.store.finalists import decided  # noqa: PLC0415
    from kdsearch.store.studies import find  # noqa: PLC0415

    os.chdir(folder)
    exported = api.export_best(side, storage=STORAGE, out=folder / "best" / side, force=True)
    study, record = find(side, STORAGE)
    finalists = decided(study)
    assert exported.test is not None, "this data has test images"
    assert finalists is not None, "each side has finalists"
    winner = finalists.winner
    curves = [record.epochs(training.run) for training in winner.runs if training.run]
    return {
        "trial": exported.trial,
        "parameters": exported.parameters,
        "macs": winner.student.macs,
        "config": winner.student.config,
        "validation": round(winner.mean, 5),
        "interval": [round(end, 5) for end in winner.interval[1:]],
        "equal": [each.trial for each in finalists.equal],
        "test": round(exported.test.mean, 5),
        "test_seeds": [round(accuracy, 5) for accuracy in exported.test.seeds],
        "curves": [[round(epoch.val_accuracy, 4) for epoch in curve] for curve in curves],
    }


def commit() -> str:
    """The commit of the code, with a + if something of it is changed."""
    here = Path(__file__).parent
    text = subprocess.check_output(["git", "rev-parse", "--short=12", "HEAD"], cwd=here, text=True).strip()
    changed = subprocess.check_output(["git", "status", "--porcelain", "../kdsearch"], cwd=here, text=True)
    return text + ("+" if changed.strip() else "")


def run_row(name: str, folder: Path, *, quick: bool) -> None:
    row, until = ROWS[name], time.monotonic() + LIMIT_SECONDS
    places = {"KDSEARCH_CACHE": str(folder / "cache"), "KDSEARCH_STATE": str(folder / "state")}
    os.environ.update(places)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    kept = Kept(None if quick else RESULTS / f"{name}.json", {"common": row.common, "sides": row.sides})
    seconds = folder / "seconds.json"
    spent: dict[str, float] = json.loads(seconds.read_text()) if seconds.exists() else {}
    for side in row.sides:
        if side in kept.parts:
            continue
        values, started = settings_of(row, side, folder, quick=quick), time.monotonic()
        done = search(row, side, values, folder, until)
        spent[side] = round(spent.get(side, 0) + time.monotonic() - started, 1)
        seconds.write_text(json.dumps(spent))
        if not done:
            raise SystemExit(f"{side} is not done after {spent[side]:.0f} s; the same command goes on")
        versions = {each: version(each) for each in ("kdsearch", "torch", "optuna")} | {"commit": commit()}
        kept.add(side, {**outcome(side, folder), "seconds": spent[side], "versions": versions})
    show(row, kept.parts)


def show(row: Row, parts: Mapping[str, Any]) -> None:
    print(f"{row.what}: to reach {row.reach:.1%}, stretch {row.stretch:.1%}")
    for side, part in parts.items():
        low, high = part["interval"]
        print(
            f"  {side:10} validation {part['validation']:.2%} ({low:.2%} to {high:.2%}), "
            f"test {part['test']:.2%}, {part['parameters']:,} parameters, "
            f"{part['macs'] / 1e6:.1f} M multiply-adds, {part['seconds']:,} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("row", nargs="?", choices=sorted(ROWS), help="left out: what is kept of each row")
    parser.add_argument("--quick", action="store_true", help="a few tiny trainings; keeps nothing")
    parser.add_argument("--folder", type=Path, help="for studies and caches of a row; a place that stays")
    options = parser.parse_args()
    print(machine())
    if options.row is None:
        for name, row in ROWS.items():
            show(row, Kept(RESULTS / f"{name}.json", {"common": row.common, "sides": row.sides}).parts)
    elif options.quick:
        with tempfile.TemporaryDirectory() as folder:
            run_row(options.row, Path(folder), quick=True)
    else:
        folder = options.folder or Path.home() / ".cache" / "kdsearch-finds" / options.row
        folder.mkdir(parents=True, exist_ok=True)
        run_row(options.row, folder.resolve(), quick=False)


if __name__ == "__main__":
    main()
