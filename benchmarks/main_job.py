"""The main job as a new user runs it: `kdsearch run digits`, empty caches, from the command to its exit.

    python benchmarks/main_job.py            100 trials, 3 study seeds, about ten minutes on 2 cores
    python benchmarks/main_job.py --quick    6 trials, one seed

Prints for each seed and in the median: seconds, the share of each part of the run, the largest resident size
of supervisor, preparing process and workers, and the winner's accuracy on the test images; beside each figure
what it has to reach. Keeps `benchmarks/results/main_job.json`.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).parent / "results" / "main_job.json"
MIB = 2**20
LIMITS = {
    "seconds": 300,
    "overhead_share": 0.15,
    "worker_mib": 700,
    "supervisor_mib": 300,
    "preparing_mib": 2048,
    "test_accuracy": 0.985,  # at least; the others are at most
}
USEFUL = ("training", "teacher", "first view")  # later views are made beside the training


def kdsearch(*words: str) -> list[str]:
    return [sys.executable, "-m", "kdsearch", *words]


def run_one(seed: int, trials: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        places = {"KDSEARCH_CACHE": f"{folder}/cache", "KDSEARCH_STATE": f"{folder}/state"}
        environment = {**os.environ, **places}
        environment.pop("MLFLOW_TRACKING_URI", None)
        started = time.perf_counter()
        process = subprocess.Popen(
            kdsearch("run", "digits", "--trials", str(trials), "--seed", str(seed)),
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        sizes = watch(process)
        output = process.stdout.read() if process.stdout else ""
        seconds = time.perf_counter() - started
        if process.returncode:
            raise SystemExit(f"kdsearch run ended with {process.returncode}")
        command = kdsearch("export-best", "--quiet")
        exported = subprocess.check_output(command, cwd=folder, env=environment, text=True)
    shares = parts(output)
    overhead = 1 - sum(share for part, share in shares.items() if part in USEFUL)
    accuracy = re.search(r"test ([\d.]+) %", exported)
    assert accuracy, exported
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "shares": shares,
        "overhead_share": round(overhead, 3),
        **sizes,
        "test_accuracy": float(accuracy[1]) / 100,
    }


def watch(process: subprocess.Popen[str]) -> dict[str, int]:
    """The largest resident size of each kind of process, told apart by the order in which they start."""
    root = psutil.Process(process.pid)
    largest: dict[tuple[float, int], int] = {}
    while process.poll() is None:
        try:
            for child in (root, *root.children()):
                key = child.create_time(), child.pid
                if "resource_tracker" not in " ".join(child.cmdline()):
                    largest[key] = max(largest.get(key, 0), child.memory_info().rss)
        except psutil.NoSuchProcess:
            continue
        time.sleep(0.05)
    supervisor, preparing, *rest = (size // MIB for _, size in sorted(largest.items()))
    workers = rest[:-1] or rest  # the last child logs the best model to MLflow
    return {"supervisor_mib": supervisor, "preparing_mib": preparing, "worker_mib": max(workers)}


def parts(output: str) -> dict[str, float]:
    """The shares that the summary's last line but one tells."""
    line = next(line for line in output.splitlines() if line.startswith("Time "))
    return {
        part.strip(): float(share) / 100 for part, share in re.findall(r"(?:: |, )([^:%]+?) ([\d.]+)%", line)
    }


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{psutil.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, no GPU"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="6 trials, one seed; keeps nothing")
    options = parser.parse_args()
    seeds, trials = ((0,), 6) if options.quick else ((0, 1, 2), 100)
    print(machine())
    runs = []
    for seed in seeds:
        runs.append(run_one(seed, trials))
        print(json.dumps(runs[-1]), flush=True)
    medians = {name: statistics.median(run[name] for run in runs) for name in LIMITS}
    for name, limit in LIMITS.items():
        word = "at least" if name == "test_accuracy" else "at most"
        met = medians[name] >= limit if name == "test_accuracy" else medians[name] <= limit
        print(f"{name:16} {medians[name]:>8g}  {word} {limit:g}: {'reached' if met else 'NOT REACHED'}")
    if not options.quick:
        kept = {"machine": machine(), "trials": trials, "runs": runs, "medians": medians, "limits": LIMITS}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
