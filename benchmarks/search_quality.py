"""What kdsearch's search finds on a part of Fashion-MNIST, beside what a user would write without it.

    python benchmarks/search_quality.py           5 paired seeds, 35 minutes on 2 cores, once 10 for a teacher
    python benchmarks/search_quality.py --quick   2 seeds of a few small trials; keeps nothing

Every arm may train the same number of epochs; a pruned trial frees its epochs for others, a refused one costs
none. When they are spent, the student that is best on the validation images is scored on the test images.

    kdsearch   as it comes: students that fit by construction, baselines first, TPE, median pruner
    random     random search in the same space of students that fit, the same pruner
    rejecting  plain Optuna: width searched, what is over the budget pruned untrained; TPE, the same pruner
    alone      kdsearch without distillation

Prints each arm's figures in the mean of all seeds, and kdsearch less the others with a 95 % interval, paired
by seed: `not shown` where that holds zero. Keeps `benchmarks/results/search_quality.json` after each run of
an arm, and goes on from there.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from fashion import FULL, QUICK, Opened, Quiet, Size, alone, open_new, teacher, test_images
from optuna import TrialPruned
from optuna.pruners import MedianPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState
from paired import Kept, in_processes, interval, machine
from torch import nn

from kdsearch.deliver.winner import find_winner
from kdsearch.engine.evaluate import evaluate
from kdsearch.engine.training import InterruptedTrainingError
from kdsearch.epoch import EpochResult
from kdsearch.models.measure import parameters_of
from kdsearch.models.student import StudentConfig, StudentNet, student_outputs
from kdsearch.phases.bench import Bench
from kdsearch.phases.samplers import STARTUP_TRIALS, warmup_epochs
from kdsearch.phases.suggest import suggest_config
from kdsearch.run.child import quiet
from kdsearch.run.protocol import Job
from kdsearch.run.worker import Worker
from kdsearch.store.facts import End, keep, trial_facts
from kdsearch.store.identity import stored_study
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.takeover import Takeover
from kdsearch.store.trials import FINISHED

RESULTS = Path(__file__).parent / "results" / "search_quality.json"
ARMS = ("kdsearch", "random", "rejecting", "alone")
WIDTHS = 4, 40  # of the first layer, where it is searched: the widest students that fit have 38

COMPARED = (
    "test accuracy, %",
    "validation accuracy, %",
    "wasted trials, %",
    "epochs to the random search's best",
    "seconds to the random search's best",
)


class Scale(NamedTuple):
    """How much is trained."""

    size: Size
    seeds: int
    epochs: int  # of a trial
    budget: int  # epochs of all trials of an arm
    max_params: int


WHOLE = Scale(FULL, seeds=5, epochs=6, budget=120, max_params=30_000)
SMALL = Scale(QUICK, seeds=2, epochs=4, budget=24, max_params=30_000)


class Counted(StudyRecord):
    """A record that knows how many epochs were trained."""

    trained = 0

    def epoch(self, run: Run, result: EpochResult, trial: int | None = None) -> None:
        super().epoch(run, result, trial)
        self.trained += 1


def settings(arm: str, scale: Scale) -> dict[str, Any]:
    given = {
        "training.epochs": scale.epochs,
        "training.batch_size": 64,
        "budget.max_params": scale.max_params,
        "search.pruner": "median",  # as all arms have
        "search.audit": 0.0,
    }
    if arm == "rejecting":
        given["student.fraction"] = 1.0  # its place is taken by the width
    if arm == "alone":
        given["distillation.loss"] = "ce"
    return given


def make_views(job: tuple[Scale, int]) -> None:
    """So that no arm waits for another one's views."""
    scale, seed = job
    alone()
    with tempfile.TemporaryDirectory() as folder:
        open_new("views", seed, scale.size, Path(folder), settings("kdsearch", scale))


def run_arm(job: tuple[Scale, int, str]) -> tuple[str, dict[str, Any]]:
    """One arm of one seed, from its first trial to the last epoch that it may train."""
    scale, seed, arm = job
    alone()
    with tempfile.TemporaryDirectory() as folder:
        opened = open_new(arm, seed, scale.size, Path(folder), settings(arm, scale))
        record = Counted(opened.record.engine, arm)
        made = FreeWidth if arm == "rejecting" else Bench
        bench = made(
            stored_study(opened.study), opened.prepared, record, lambda: record.trained >= scale.budget
        )
        started = time.perf_counter()
        if arm == "random":
            study, student = ByHand(bench, RandomSampler(seed)).search()
        elif arm == "rejecting":
            study, student = ByHand(bench, TPESampler(n_startup_trials=STARTUP_TRIALS, seed=seed)).search()
        else:
            study, student = search_by_kdsearch(opened, bench)
        seconds = time.perf_counter() - started
        epochs = {place: len(results) for place, results in record.all_epochs().items()}
        found = outcome(study.trials, epochs)
        score = evaluate(student, student_outputs, *test_images(scale.size))
    return f"{seed} {arm}", {"test_accuracy": round(score.accuracy, 5), "seconds": round(seconds, 1), **found}


def search_by_kdsearch(opened: Opened, bench: Bench) -> tuple[optuna.Study, StudentNet]:
    """A worker as `kdsearch run --workers 1` starts it; it is told to stop when the epochs are spent."""
    job = Job(opened.study.study_name, "", {}, 0, 1, 0, 0.0)
    Worker(opened.study, bench, job, Quiet(), Takeover(opened.study, opened.storage)).work()
    return opened.study, find_winner(opened.study, bench.record).student()


class FreeWidth(Bench):
    """Lets a trial choose any width."""

    trial: Trial

    def fitted(self, student: StudentConfig, fraction: float) -> StudentConfig:
        width = self.trial.suggest_int("width", *WIDTHS, log=True)
        return student.model_copy(update={"mean": self.mean, "std": self.std, "width": width})


class ByHand:
    """A search as a user of plain Optuna writes it, on the same images, teacher, views and training."""

    def __init__(self, bench: Bench, sampler: BaseSampler) -> None:
        self.bench = bench
        warm = warmup_epochs(bench.study.max_epochs)
        self.study = optuna.create_study(
            direction="maximize",
            sampler=sampler,
            pruner=MedianPruner(STARTUP_TRIALS, n_warmup_steps=warm, n_min_trials=5),
        )
        self.best: tuple[float, float] = (-1.0, 0.0)  # accuracy, then the lower loss
        self.student: nn.Module | None = None

    def search(self) -> tuple[optuna.Study, nn.Module]:
        """Until the epochs are spent."""
        while not self.bench.stop():
            self.study.optimize(self.objective, n_trials=1, catch=(InterruptedTrainingError,))
        assert self.student, "the budget holds a whole trial"
        return self.study, self.student

    def objective(self, trial: Trial) -> float:
        if isinstance(self.bench, FreeWidth):
            self.bench.trial = trial
        config = suggest_config(trial, self.bench)
        if parameters_of(config.student) > self.bench.study.max_params:
            raise TrialPruned("over the budget")
        keep(trial, key=config.key)
        training = self.bench.training(config, Run(SEARCH, trial.number, 0))
        for result in training:
            self.bench.record.epoch(Run(SEARCH, trial.number, 0), result)
            if not math.isfinite(result.train_loss + result.val_loss):
                raise TrialPruned("diverged")
            trial.report(result.val_accuracy, result.epoch)
            if result.epoch < config.training.epochs - 1 and trial.should_prune():
                raise TrialPruned
        reached = training.last.val_accuracy, -training.last.val_loss
        if reached > self.best:
            self.best, self.student = reached, training.final
        return training.last.val_accuracy


def outcome(trials: Sequence[FrozenTrial], epochs: dict[Run, int]) -> dict[str, Any]:
    """How many trials were of use, and the best validation accuracy after so many epochs and seconds."""
    keys: set[str] = set()
    wasted = pruned = spent = 0
    best, curve = -1.0, []
    started = trials[0].datetime_start
    for trial in trials:
        refused = trial_facts(trial).mark in (End.DUPLICATE, End.FAILED)
        if trial.state not in FINISHED and not refused:
            continue  # cut off when the epochs were spent
        spent += epochs.get(run_of(trial), 0)
        key = trial_facts(trial).key
        if refused or key is None or key in keys:
            wasted += 1
            continue
        keys.add(key)
        pruned += trial.state == TrialState.PRUNED
        if trial.state == TrialState.COMPLETE and (trial.value or 0.0) > best:
            best = trial.value or 0.0
            seconds = (trial.datetime_complete - started).total_seconds()
            curve.append((spent, round(seconds, 1), best))
    return {"trained": len(keys), "pruned": pruned, "wasted": wasted, "curve": curve}


def run_of(trial: FrozenTrial) -> Run:
    """What the record calls the trial's epochs."""
    return trial_facts(trial).run or Run(SEARCH, trial.number, 0)


def reached(run: dict[str, Any], accuracy: float) -> tuple[float, float] | None:
    """Epochs and seconds until the run had seen that validation accuracy."""
    return next(((epochs, seconds) for epochs, seconds, best in run["curve"] if best >= accuracy), None)


def figures(runs: dict[str, Any], scale: Scale) -> list[dict[str, dict[str, float]]]:
    """For each seed, by arm, what is compared; all that was spent counts where the goal was not reached.

    The goal is the median of what the random searches of all seeds found: its own best, of one seed, a random
    search has always reached.
    """
    seeds = range(scale.seeds)
    goal = statistics.median(runs[f"{seed} random"]["curve"][-1][2] for seed in seeds)
    return [{arm: _figures(runs[f"{seed} {arm}"], goal, scale.budget) for arm in ARMS} for seed in seeds]


def _figures(run: dict[str, Any], goal: float, budget: int) -> dict[str, float]:
    when = reached(run, goal)
    epochs, seconds = when or (budget, run["seconds"])
    return {
        "test accuracy, %": 100 * run["test_accuracy"],
        "validation accuracy, %": 100 * run["curve"][-1][2],
        "wasted trials, %": 100 * run["wasted"] / (run["wasted"] + run["trained"]),
        "epochs to the random search's best": epochs,
        "seconds to the random search's best": seconds,
        "reached it, % of seeds": 100.0 * (when is not None),
        "trials trained": run["trained"],
        "of them pruned": run["pruned"],
        "seconds": run["seconds"],
    }


def show(runs: dict[str, Any], scale: Scale) -> None:
    by_seed = figures(runs, scale)
    print(f"\n{'mean of the seeds':38}" + "".join(f"{arm:>12}" for arm in ARMS))
    for name in by_seed[0][ARMS[0]]:
        means = (statistics.fmean(seed[arm][name] for seed in by_seed) for arm in ARMS)
        print(f"{name:38}" + "".join(f"{mean:12.2f}" for mean in means))
    for name in COMPARED:
        print(f"\n{name}: kdsearch less")
        for arm in ARMS[1:]:
            differences = [seed["kdsearch"][name] - seed[arm][name] for seed in by_seed]
            print(f"  {arm:10} {interval(differences).told()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2 seeds of a few small trials; keeps nothing")
    scale = SMALL if parser.parse_args().quick else WHOLE
    print(machine())
    kept = Kept(None if scale is SMALL else RESULTS, {**scale._asdict(), "size": scale.size._asdict()})
    jobs = [
        (scale, seed, arm) for seed in range(scale.seeds) for arm in ARMS if f"{seed} {arm}" not in kept.parts
    ]
    if jobs:
        quiet()
        teacher(scale.size)
        list(in_processes(make_views, {(scale, seed) for scale, seed, _ in jobs}))
    for name, run in in_processes(run_arm, jobs):
        kept.add(name, run)
        print(name, json.dumps(run), flush=True)
    show(kept.parts, scale)


if __name__ == "__main__":
    main()
