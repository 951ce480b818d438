"""How long a whole search takes to equal accuracy: a usual script, a competent one and kdsearch.

    python benchmarks/whole_search.py            16 trials of 8 epochs, 5 seeds, about 70 minutes on 2 cores
    python benchmarks/whole_search.py --quick    2 trials of 2 epochs on few images; keeps nothing

On 1,000 training and 750 validation images of food101-10, JPEGs of 128 pixels trained at 64, in the space of
the shipped study `food11` with batches of 64. The teacher is one ResNet18, trained before on all 2,998
training images and given to all sides as a file. Each side is the command that a user starts, alone on the
machine: `naive.py` and `competent.py` with Optuna's median pruner and 3 epochs of warm-up, `kdsearch run` in
empty caches with its own. The sides take turns, seed by seed. All train by the same recipe and score the same
images; a trial's value is its last epoch's accuracy, and no other value counts.

Time runs from the command's start to the end of the first trial that is as good as asked. Two goals for each
seed: what all three sides found, so that each side reaches it; and the best of naive, which a side that never
reaches it is said not to have. What a whole command took, whatever it found, is told beside that.

Prints for each seed what each side found and when it was there, and kdsearch's time under the others', in the
median of the seeds with their range. Keeps `benchmarks/results/whole_search.json` after each search, and goes
on from there. Everything runs on the CPU.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from main_job import kdsearch, machine
from paired import Kept
from task import Task, fresh

RESULTS = Path(__file__).parent / "results" / "whole_search.json"
SIDES = ("naive", "competent", "kdsearch")
BATCH, SIZE = 64, 64
WANTED = (6.0, 10.0)  # times, of naive: at least, and wished for


class Scale(NamedTuple):
    """How much is trained."""

    train: int
    validation: int
    teacher_epochs: int
    trials: int
    epochs: int
    seeds: int


WHOLE = Scale(1000, 750, 15, 16, 8, 5)
SMALL = Scale(130, 60, 0, 2, 2, 1)


def run(side: str, seed: int, scale: Scale, task: Task) -> dict[str, Any]:
    """One search from its command to its exit, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"KDSEARCH_CACHE": f"{folder}/cache", "KDSEARCH_STATE": f"{folder}/state"}
        started = time.time()
        ended = subprocess.run(
            command(side, seed, scale, task),
            cwd=folder,
            env={**os.environ, **places},
            check=False,
            capture_output=True,
            text=True,
        )
        seconds = time.time() - started
        if ended.returncode:
            raise SystemExit(f"{side} ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
        if side == "kdsearch":
            trials = fresh("recipe:stored_trials", f"{folder}/kdsearch.db", task.study)
        else:
            trials = json.loads(ended.stdout.splitlines()[-1])
    for trial in trials:
        trial["ended"] = round(trial["ended"] - started, 1)
    return {"seconds": round(seconds, 1), "trials": sorted(trials, key=lambda trial: trial["ended"])}


def command(side: str, seed: int, scale: Scale, task: Task) -> list[str]:
    numbers = "--trials", str(scale.trials), "--seed", str(seed), "--data", task.folder
    if side == "kdsearch":
        given = {**task.settings, "teacher.checkpoint": task.teacher}
        settings = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
        return kdsearch("run", task.study, *numbers, "--finalists", "0", *settings)
    script = Path(__file__).with_name(f"{side}.py")
    sizes = {"--size": SIZE, "--batch": BATCH, "--epochs": scale.epochs, "--teacher": task.teacher}
    return [sys.executable, str(script), *numbers, *(str(word) for pair in sizes.items() for word in pair)]


def best(search: dict[str, Any]) -> float:
    return max((trial["value"] for trial in search["trials"] if trial["value"] is not None), default=0.0)


def reached(search: dict[str, Any], accuracy: float) -> float | None:
    """Seconds until some trial was as good as that; None where none was."""
    good = (trial for trial in search["trials"] if (trial["value"] or 0.0) >= accuracy)
    return next((float(trial["ended"]) for trial in good), None)


def common(searches: dict[str, dict[str, Any]]) -> float:
    """The accuracy that all sides reached."""
    return min(best(search) for search in searches.values())


def naive_best(searches: dict[str, dict[str, Any]]) -> float:
    """The best of the usual script."""
    return best(searches["naive"])


GOALS: dict[str, Callable[[dict[str, dict[str, Any]]], float]] = {
    "what all reached": common,
    "the best of naive": naive_best,
}


def show(kept: Kept, scale: Scale) -> None:
    by_seed = [{side: kept.parts[f"{seed} {side}"] for side in SIDES} for seed in range(scale.seeds)]
    print("\nseed  side         best  trials, pruned, epochs  seconds")
    for seed, searches in enumerate(by_seed):
        for side, search in searches.items():
            trials = search["trials"]
            pruned = sum(trial["state"] == "PRUNED" for trial in trials)
            counts = f"{len(trials)}, {pruned}, {sum(trial['epochs'] for trial in trials)}"
            print(f"{seed:4}  {side:10} {best(search):6.2%}  {counts:22} {search['seconds']:8.1f}")
    for name, goal in GOALS.items():
        goals = [goal(searches) for searches in by_seed]
        print(f"\nseconds to {name}: {', '.join(f'{each:.2%}' for each in goals)}")
        times = {
            side: [reached(searches[side], each) for searches, each in zip(by_seed, goals, strict=True)]
            for side in SIDES
        }
        show_times(times)
    print("\nof naive at least {:g} times, {:g} wished for".format(*WANTED))
    print("\nseconds of the whole command")
    show_times({side: [searches[side]["seconds"] for searches in by_seed] for side in SIDES})


def show_times(times: Mapping[str, Sequence[float | None]]) -> None:
    for side, found in times.items():
        ends = ", ".join("NOT REACHED" if each is None else f"{each:.1f}" for each in found)
        print(f"{side:10} {ends}{ratio(found, times['kdsearch']) if side != 'kdsearch' else ''}")


def ratio(other: Sequence[float | None], ours: Sequence[float | None]) -> str:
    """In the median of the seeds in which both came there, and their range."""
    pairs = [(theirs, our) for theirs, our in zip(other, ours, strict=True) if theirs and our]
    if not pairs:
        return ""
    ratios = [theirs / our for theirs, our in pairs]
    few = "" if len(pairs) == len(ours) else f", {len(pairs)} of {len(ours)} seeds"
    middle = statistics.median(ratios)
    return f": {middle:.2f} times kdsearch's ({min(ratios):.2f} to {max(ratios):.2f}{few})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2 trials of 2 epochs; keeps nothing")
    scale = SMALL if parser.parse_args().quick else WHOLE
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    print(machine())
    settings = {
        "data.image_size": SIZE,
        "training.batch_size": BATCH,
        "training.epochs": scale.epochs,
    }
    kept = Kept(None if scale is SMALL else RESULTS, scale._asdict(), machine())
    images = scale.train, scale.validation
    task = fresh("photos:food_task", images, scale.teacher_epochs, settings)
    for seed in range(scale.seeds):
        for side in SIDES:
            if f"{seed} {side}" not in kept.parts:
                kept.add(f"{seed} {side}", run(side, seed, scale, task))
                print(f"{seed} {side}", json.dumps(kept.parts[f"{seed} {side}"]), flush=True)
    show(kept, scale)


if __name__ == "__main__":
    main()
