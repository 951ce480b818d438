"""Which sampler finds most in a hundred trials: replayed on a model of recorded trainings.

    python benchmarks/surrogate.py            50 seeds of each sampler, from what is recorded
    python benchmarks/surrogate.py --quick    a few tiny trainings, 2 seeds; keeps nothing
    python benchmarks/surrogate.py --record   trains random trials that are missing, at most two hours a call

The trials are draws from the space of `food11`, with three more families, on 1,000 photos of food101-10. A
random forest learns from them a trial's accuracy after each epoch and the seconds of an epoch; how well, is
checked on trials that it has not seen. A search on it costs milliseconds. Every sampler has the same seconds
of training, those that the random search takes for its trials, and is stopped by the same median, but one by
successive halving. CMA-ES and Optuna's GP see all parameters as kdsearch's TPE does.

Prints how well the forest knows unseen trials, then for each sampler the best accuracy found, in the mean of
the seeds, and what it is ahead of the random search, paired by seed, with a 95 % interval.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import food
import numpy as np
import optuna
from fashion import alone
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler
from optuna.trial import TrialState
from paired import Kept, in_processes, interval, machine
from scipy.stats import spearmanr
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import cross_val_predict

from kdsearch.engine.training import never
from kdsearch.phases.bench import Bench
from kdsearch.phases.samplers import MIN_TRIALS, STARTUP_TRIALS, tpe, warmup_epochs
from kdsearch.phases.suggest import Draw
from kdsearch.run.child import quiet
from kdsearch.store.identity import stored_study
from kdsearch.store.runs import SEARCH, Run
from kdsearch.study.file import load_study

RESULTS = Path(__file__).parent / "results" / "surrogate.json"
LIMIT_SECONDS = 7_200
TOGETHER = 4  # trials of one process: to prepare a study takes as long as half a trial
RANDOM = "random"
MOST = 3  # times the random search's trials that an arm may take, if it prunes more or trains cheaper ones


class Scale(NamedTuple):
    """How much is trained, and how much is replayed."""

    size: food.Size
    recorded: int  # random trials
    epochs: int
    seeds: int
    trials: int  # of the random search, whose seconds all others have


WHOLE = Scale(food.FULL, recorded=300, epochs=12, seeds=50, trials=100)
SMALL = Scale(food.QUICK, recorded=6, epochs=4, seeds=2, trials=12)


def settings(scale: Scale) -> dict[str, Any]:
    return {
        "training.epochs": scale.epochs,
        "training.batch_size": 32,  # as many steps as on the whole set with 96
        "student.family": ["dwsep", "inverted", "plain", "convnext", "mixed"],
    }


def train(job: tuple[Scale, Sequence[int]]) -> dict[str, Any]:
    """The random trials of these numbers; without any it makes the views, for which two would wait."""
    scale, numbers = job
    alone()
    with tempfile.TemporaryDirectory() as folder:
        opened = food.open_new("surrogate", 0, scale.size, Path(folder), settings(scale))
        bench = Bench(stored_study(opened.study), opened.prepared, opened.record, never)
        return {f"{number:03}": _train(bench, number) for number in numbers}


def _train(bench: Bench, number: int) -> dict[str, Any]:
    draw = Draw(optuna.create_study(sampler=RandomSampler(number)).ask(), bench.study)
    config = draw.config(bench)
    results = list(bench.training(config, Run(SEARCH, number, 0)))
    return {
        "params": {name: _short(value) for name, value in draw.values.items()},
        "seconds": round(sum(result.seconds for result in results) / len(results), 2),  # of an epoch
        "accuracy": [round(result.val_accuracy, 4) for result in results],
    }


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def record(kept: Kept, scale: Scale) -> None:
    """Trains what is missing until the time is over."""
    until = time.monotonic() + LIMIT_SECONDS
    numbers = [number for number in range(scale.recorded) if f"{number:03}" not in kept.parts]
    if not numbers:
        return
    quiet()
    food.teacher(scale.size)
    list(in_processes(train, [(scale, [])]))
    jobs = [(scale, numbers[first : first + TOGETHER]) for first in range(0, len(numbers), TOGETHER)]
    for found in in_processes(train, jobs):
        for number, trial in found.items():
            kept.add(number, trial)
            print(number, trial["params"]["student.family"], trial["accuracy"][-1], flush=True)
        if time.monotonic() > until:
            raise SystemExit(f"{len(kept.parts)} of {scale.recorded} are recorded; the same command goes on")


class Surrogate:
    """Knows a trial's accuracies and the seconds of its epochs from those of recorded trials."""

    def __init__(self, trials: Sequence[dict[str, Any]]) -> None:
        self.space = _space()
        given = np.array([self._row(trial["params"]) for trial in trials])
        self.known = [trial["accuracy"] for trial in trials]
        self.costs = np.log([trial["seconds"] for trial in trials])
        self.given, self.forest = given, _forest().fit(given, self.known)
        self.clock = _forest().fit(given, self.costs)

    def __call__(self, params: dict[str, Any]) -> tuple[NDArray[np.float64], float]:
        """The accuracy after each epoch, and the seconds of one."""
        row = [self._row(params)]
        return self.forest.predict(row)[0], float(np.exp(self.clock.predict(row)[0]))

    def _row(self, params: dict[str, Any]) -> list[float]:
        """Logarithms where the range is one; a choice of words as one number for each word."""
        row: list[float] = []
        for name, distribution in self.space.items():
            value = params[name]
            if choices := getattr(distribution, "choices", None):
                row += [float(value == choice) for choice in choices]
            else:
                row.append(float(np.log(value) if distribution.log else value))
        return row

    def check(self) -> str:
        """How well unseen trials are known, by cross-validation in five parts."""
        final = np.array(self.known)[:, -1]
        seen = cross_val_predict(_forest(), self.given, final, cv=min(5, len(final) // 2))
        known, ranks = 1 - np.var(final - seen) / np.var(final), spearmanr(final, seen)[0]
        return f"of unseen ones it explains {known:.0%} of the variance, rank correlation {ranks:.2f}"


def _forest() -> ExtraTreesRegressor:
    return ExtraTreesRegressor(200, min_samples_leaf=2, max_features=0.5, random_state=0, n_jobs=1)


def _space() -> dict[str, BaseDistribution]:
    """Every parameter of the recorded study, as Optuna samples it."""
    trial = optuna.create_study(sampler=RandomSampler(0)).ask()
    Draw(trial, load_study(food.STUDY, settings(WHOLE) | {"data.path": "."}))
    return trial.distributions


class Arm(NamedTuple):
    """A way to search."""

    sampler: Callable[[int], BaseSampler]
    pruner: Callable[[], BasePruner]


def median(epochs: int) -> BasePruner:
    return MedianPruner(STARTUP_TRIALS, warmup_epochs(epochs), n_min_trials=MIN_TRIALS)


def arms(epochs: int) -> dict[str, Arm]:
    usual = partial(median, epochs)
    return {
        RANDOM: Arm(RandomSampler, usual),
        "tpe": Arm(tpe, usual),
        "tpe, halving": Arm(tpe, partial(SuccessiveHalvingPruner, 3, 3)),
        "gp": Arm(lambda seed: GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS), usual),
        "cma-es": Arm(lambda seed: CmaEsSampler(seed=seed, n_startup_trials=STARTUP_TRIALS), usual),
    }


def search(surrogate: Surrogate, arm: Arm, seed: int, trials: int, seconds: float) -> tuple[float, float]:
    """The best accuracy that a search finds in so many trials and seconds, and the seconds it took."""
    study = optuna.create_study(direction="maximize", sampler=arm.sampler(seed), pruner=arm.pruner())
    spent, best = 0.0, 0.0
    while len(study.get_trials(deepcopy=False)) < trials and spent < seconds:
        trial = study.ask(surrogate.space)
        curve, epoch_seconds = surrogate(trial.params)
        state = TrialState.COMPLETE
        for epoch, accuracy in enumerate(curve):
            spent += epoch_seconds
            trial.report(accuracy, epoch)
            if epoch < len(curve) - 1 and trial.should_prune():
                state = TrialState.PRUNED
                break
        whole = state is TrialState.COMPLETE
        study.tell(trial, float(curve[-1]) if whole else None, state=state)
        best = max(best, float(curve[-1])) if whole else best
    return best, spent


def replay(job: tuple[Scale, Sequence[dict[str, Any]], int]) -> dict[str, float]:
    """The best accuracy of each arm with this seed."""
    scale, recorded, seed = job
    alone()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    surrogate, ways = Surrogate(recorded), arms(scale.epochs)
    found, seconds = search(surrogate, ways.pop(RANDOM), seed, scale.trials, np.inf)
    others = {
        name: search(surrogate, arm, seed, MOST * scale.trials, seconds)[0] for name, arm in ways.items()
    }
    return {RANDOM: found, **others}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few tiny trainings, 2 seeds; keeps nothing")
    parser.add_argument("--record", action="store_true", help="train the random trials that are missing")
    options = parser.parse_args()
    scale = SMALL if options.quick else WHOLE
    print(machine())
    plan = {"size": scale.size._asdict(), "epochs": scale.epochs, **settings(scale)}
    kept = Kept(None if options.quick else RESULTS, plan)
    if options.record or options.quick:
        record(kept, scale)
    trials = [kept.parts[number] for number in sorted(kept.parts)]
    if not trials:
        raise SystemExit("nothing is recorded; --record does it")
    print(f"{len(trials)} recorded trials; {Surrogate(trials).check()}")
    found = list(in_processes(replay, [(scale, trials, seed) for seed in range(scale.seeds)]))
    for name in found[0]:
        mean = np.mean([run[name] for run in found])
        ahead = interval([run[name] - run[RANDOM] for run in found]).told(100) if name != RANDOM else ""
        print(f"  {name:14} best {mean:.2%}  {ahead}")


if __name__ == "__main__":
    main()
