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
from typing import Any

from paired import Kept, interval, machine
from rows import INVERTED, LITE0, OF_A_TEACHER, QUICK, ROWS, WINNER, Row

from kdsearch.distill import LOSSES
from kdsearch.models.families import FAMILIES

RESULTS = Path(__file__).parent / "results" / "finds"
LIMIT_SECONDS = 7_200
STORAGE = "sqlite:///kdsearch.db"
STOPPED = 128 + signal.SIGTERM


def settings_of(row: Row, side: str, folder: Path, *, quick: bool) -> dict[str, Any]:
    values = {**row.common, **row.sides[side]}
    if winner := values.pop(WINNER, None):
        values = {**found(winner, quick=quick), **values}
        if values["distillation.loss"] == "ce":
            values = {key: value for key, value in values.items() if not key.startswith(OF_A_TEACHER)}
    if quick:  # with a small teacher of its own
        values = {key: value for key, value in values.items() if not key.startswith("teacher.")} | QUICK
        values["run.trials"] = min(2, values["run.trials"])
    if "data.path" in values:
        values["data.path"] = str(unpacked(folder, values["data.path"]))
    if values.get("teacher.pretrained") == LITE0:
        values["teacher.pretrained"] = str(written(folder / LITE0))
    return values


def found(winner: str, *, quick: bool) -> dict[str, Any]:
    """The settings of a study that has nothing but the winner of a row's side."""
    if quick:
        return {**INVERTED, "distillation.loss": "kl"}
    row, side = winner.split()
    path = RESULTS / f"{row}.json"
    if not path.exists():
        raise SystemExit(f"{path} is not there: run {row} first")
    parts = json.loads(path.read_text())["parts"]
    return {setting(name): value for name, value in parts[side]["params"].items()}


def setting(name: str) -> str:
    """The key in a study file of a parameter in Optuna."""
    table = name.partition(".")[0]
    kinds = {"families": FAMILIES, "losses": LOSSES}
    nested = next((kind for kind, known in kinds.items() if table in known), None)
    return f"{nested}.{name}" if nested else name


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
    trial = study.trials[exported.trial]
    active = winner.student.active or trial.params
    params = {name: value for name, value in trial.params.items() if name in active}
    curves = [record.epochs(training.run) for training in winner.runs if training.run]
    return {
        "trial": exported.trial,
        "parameters": exported.parameters,
        "macs": winner.student.macs,
        "config": winner.student.config,
        "params": params,
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
    over = " over each other side" if row.over_others else ""
    print(f"{row.what}: to reach {row.reach:.1%}{over}, stretch {row.stretch:.1%}")
    first = next(iter(parts.values()), None)
    for side, part in parts.items():
        low, high = part["interval"]
        print(
            f"  {side:10} validation {part['validation']:.2%} ({low:.2%} to {high:.2%}), "
            f"test {part['test']:.2%}, {part['parameters']:,} parameters, "
            f"{part['macs'] / 1e6:.1f} M multiply-adds, {part['seconds']:,} s"
        )
        if row.over_others and part is not first and first:
            pairs = zip(first["test_seeds"], part["test_seeds"], strict=True)
            print(f"  {'':10} test, points below: {interval([a - b for a, b in pairs]).told(100)}")


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
