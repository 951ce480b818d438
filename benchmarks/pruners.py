"""Which pruner spends the fewest epochs without losing the best: recorded learning curves, replayed.

    python benchmarks/pruners.py            200 orders of 60 of 100 digits' and 50 photos' trials, 5 minutes
    python benchmarks/pruners.py --quick    4 orders of 30 trials
    python benchmarks/pruners.py --record   trains the curves that are missing, about 40 minutes on 2 cores

Every pruner sees the same orders; it is asked after each epoch from its warm-up on, as kdsearch asks.
Optuna's are its own, in a study in memory. Two are ours: `extrapolation` foretells the last accuracy from the
latest; `paired` compares right and wrong of each validation image with the best finished trial at the same
epoch (McNemar's z).

Prints for each data set and pruner the share of the epochs that it spends; the regret, which is how much
better the best of the order is than what was found, in points of validation accuracy, with a 95 % interval
over the orders; in how many orders the best was lost; and of the trials that would have ended among the best
tenth of their order how many were stopped, all and slow starters alone: those third of the `kl` trials whose
alpha times temperature is largest. The orders share their trials, so the intervals say nothing about others.
"""

import argparse
import math
import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import optuna
from curves import SETS, Curve, read, results
from extrapolation import ExtrapolationPruner
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)
from optuna.trial import FrozenTrial, TrialState
from paired import in_processes, interval, machine

CURVE = "curve"  # user attribute: its number
TOGETHER = 20  # orders of one process


class PairedPruner(BasePruner):
    """Stops a trial that is worse than the best finished one at the same epoch, on the same images."""

    def __init__(self, curves: Sequence[Curve], startup: int, deviations: float) -> None:
        self.curves, self.startup, self.deviations = curves, startup, deviations

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """As BasePruner."""
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(complete) < self.startup or trial.last_step is None:
            return False
        best = max(complete, key=lambda each: each.value or 0.0)
        theirs, own = (self.curves[each.user_attrs[CURVE]].right[trial.last_step] for each in (best, trial))
        worse, better = np.sum(theirs & ~own), np.sum(own & ~theirs)
        return bool(worse - better > self.deviations * math.sqrt(worse + better))


class Tried(NamedTuple):
    """A pruner that has seen nothing yet, and the first epoch after which it is asked."""

    pruner: BasePruner
    warm: int


def tried(curves: Sequence[Curve]) -> dict[str, Tried]:
    """The pruners by what the table calls them."""
    found, epochs = {}, len(curves[0].accuracy)
    for warm in (1, 3, 4):  # 4: 30 % of 12
        found[f"median, warm-up {warm}"] = Tried(MedianPruner(10, 0, n_min_trials=5), warm)
        found[f"best quarter, warm-up {warm}"] = Tried(PercentilePruner(25, 10, 0, n_min_trials=5), warm)
    for first in (1, 3):
        found[f"halving, from {first}"] = Tried(SuccessiveHalvingPruner(first, reduction_factor=3), 0)
        found[f"Hyperband, from {first}"] = Tried(HyperbandPruner(first, epochs, 3), 0)
    for p in (0.1, 0.01):
        found[f"Wilcoxon, p {p}"] = Tried(WilcoxonPruner(p_threshold=p, n_startup_steps=3), 1)
    for k, warm, startup in ((2, 1, 10), (3, 1, 10), (3, 3, 10), (3, 4, 10), (3, 1, 5), (4, 1, 5)):
        told = f"{k}, warm-up {warm}, after {startup}"
        found[f"extrapolation {told}"] = Tried(ExtrapolationPruner(startup, k), warm)
        found[f"paired {told}"] = Tried(PairedPruner(curves, startup, k), warm)
    return found


class Scale(NamedTuple):
    """How much is replayed."""

    orders: int
    trials: int  # of an order
    curves: int  # that they are drawn from


WHOLE, SMALL = Scale(200, 60, 100), Scale(4, 30, 60)


class Order(NamedTuple):
    """What a pruner did to one order of trials."""

    spent: float  # share of the epochs
    regret: float  # of the best that was found, 0 to 1
    good: int  # trials that would have ended among the best tenth
    stopped: int  # of these
    slow: int  # slow starters among the good
    slow_stopped: int


def replay(curves: Sequence[Curve], order: Sequence[int], name: str, seed: int) -> Order:
    """Trials one after the other, as one worker runs them."""
    epochs, chosen = len(curves[0].accuracy), tried(curves)[name]
    study = optuna.create_study(direction="maximize", study_name=str(seed), pruner=chosen.pruner)
    for number in order:
        run(study, curves[number], number, chosen.warm)
    complete = {t.user_attrs[CURVE] for t in study.trials if t.state == TrialState.COMPLETE}
    final = {number: curves[number].accuracy[-1] for number in order}
    good = set(sorted(order, key=lambda number: -final[number])[: len(order) // 10])
    slow = good & slow_starters(curves)
    return Order(
        spent=sum(len(t.intermediate_values) for t in study.trials) / epochs / len(order),
        regret=max(final.values()) - max(final[number] for number in complete),
        good=len(good),
        stopped=len(good - complete),
        slow=len(slow),
        slow_stopped=len(slow - complete),
    )


def run(study: optuna.Study, curve: Curve, number: int, warm: int) -> None:
    """One trial, until it ends or is stopped."""
    trial = study.ask()
    trial.set_user_attr(CURVE, number)
    last = len(curve.accuracy) - 1
    # Where differences are equal, Wilcoxon's test tries all 2^n signs, which takes most of the time.
    unequal = curve.accuracy + np.random.default_rng(number).uniform(0, 1e-9, last + 1)
    for epoch, accuracy in enumerate(unequal):
        trial.report(accuracy, epoch)
        if warm <= epoch < last and trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return
    study.tell(trial, curve.accuracy[-1])


def slow_starters(curves: Sequence[Curve]) -> set[int]:
    """The third of the trials with a teacher whose alpha times temperature is largest."""
    taught = sorted((n for n, c in enumerate(curves) if c.slowness), key=lambda n: -curves[n].slowness)
    return set(taught[: len(taught) // 3])


def replay_all(job: tuple[Scale, str, range]) -> tuple[str, dict[str, list[Order]]]:
    """All pruners on some orders of a data set, by the seeds of these."""
    scale, data, seeds = job
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    curves = read(data)[: scale.curves]
    orders = {seed: np.random.default_rng(seed).permutation(len(curves))[: scale.trials] for seed in seeds}
    return data, {
        name: [replay(curves, order.tolist(), name, seed) for seed, order in orders.items()]
        for name in tried(curves)
    }


def show(data: str, found: dict[str, list[Order]]) -> None:
    """The pruners of one data set, those that spend least first."""
    print(
        f"\n{data:38} epochs   regret, points            best lost   of the best tenth   of its slow starters"
    )
    for name, orders in sorted(found.items(), key=lambda each: np.mean([o.spent for o in each[1]])):
        regrets = [order.regret for order in orders]
        spent, lost = np.mean([order.spent for order in orders]), np.mean(np.array(regrets) > 0)
        good, stopped, slow, slow_stopped = np.sum([order[2:] for order in orders], axis=0)
        print(
            f"{name:38} {spent:6.1%}   {interval(regrets).told(100):35} {lost:6.1%} {stopped / good:12.1%}"
            f"{slow_stopped:16} of {slow}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--quick", action="store_true", help="4 orders of 30 trials")
    choice.add_argument("--record", action="store_true", help="train the curves that are missing")
    given = parser.parse_args()
    if given.record:
        from recording import record  # noqa: PLC0415 - all else needs no torch

        record()
        return
    if missing := [data for data in SETS if not results(data).exists()]:
        parser.error(f"no curves of {', '.join(missing)}: --record trains them")
    scale = SMALL if given.quick else WHOLE
    print(machine())
    seeds = [range(scale.orders)[first : first + TOGETHER] for first in range(0, scale.orders, TOGETHER)]
    found: dict[str, dict[str, list[Order]]] = {data: defaultdict(list) for data in SETS}
    for data, some in in_processes(replay_all, [(scale, data, each) for data in SETS for each in seeds]):
        for name, orders in some.items():
            found[data][name] += orders
    for data in SETS:
        show(data, found[data])


if __name__ == "__main__":
    main()
