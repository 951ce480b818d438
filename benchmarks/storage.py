"""What the study itself costs a trial of 30 epochs on SQLite, part by part: milliseconds and SQL statements.

    python benchmarks/storage.py            100 finished trials, 20 more
    python benchmarks/storage.py --quick    10 finished trials, 3 more

The study is `digits` with 30 epochs, on one worker whose trainings take no time; all else is real. The mirror
sends each trial to an MLflow store on SQLite twice, in its middle and at its end, as it does where trials
last ten to twenty seconds. Storage, record and mirror together have to stay below 200 ms a trial; with the
sampling, below 5 % of a trial of 10 s. What does not depend on the database is told apart. Prints medians
and the range; keeps `benchmarks/results/storage.json`.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from finished import fill
from paired import Kept
from untrained import BUILDING, EPOCH, EPOCHS, Lap, Untaught, untaught

from kdsearch.mirror.mirror import Mirror
from kdsearch.mirror.runs import TrialRow
from kdsearch.mirror.study_rows import study_row, trial_rows
from kdsearch.store.facts import study_facts
from kdsearch.store.trials import Trials

RESULTS = Path(__file__).parent / "results" / "storage.json"
REAL = 8  # the first trials, of which the other finished ones are copies
STORAGE_LIMIT = 200  # ms a trial
SHARE_LIMIT, TRIAL_MS = 0.05, 10_000


def mirroring(study: Untaught, folder: Path) -> Callable[[], None]:
    """A tick of the real mirror, into a store in `folder`; trials that are there already are left out."""
    trials = Trials.of(study.study)
    row = study_row(study.study.study_name, study_facts(study.study), trials)
    mirror = Mirror(f"sqlite:///{folder / 'mlflow.db'}", row, study.record)
    mirror.tick([])
    known: dict[int, TrialRow] = {}
    before = len(trial_rows(trials, known))
    return lambda: mirror.tick(trial_rows(Trials.of(study.study, trials), known)[before:])


def spread(laps: Sequence[Lap], parts: Sequence[str]) -> list[float]:
    """The lowest, the median and the highest of these parts together, in ms a trial."""
    sums = sorted(1e3 * sum(lap.seconds[part] for part in parts) for lap in laps)
    return [sums[0], statistics.median(sums), sums[-1]]


def show(laps: Sequence[Lap]) -> None:
    names = {name for lap in laps for name in lap.seconds}
    print(f"\n{'a trial of 30 epochs':20}{'ms':>8}  (from to)       SQL statements")
    for name in sorted(names, key=lambda part: -spread(laps, [part])[1]):
        count = statistics.median(lap.statements[name] for lap in laps)
        print(f"{name:20}{line(spread(laps, [name]))}{count:12.0f}")
    study = sorted(names - set(BUILDING))
    storing = [name for name in study if name != "suggest"]
    for what, parts in {"the study": study, "without sampling": storing, "an epoch": EPOCH}.items():
        per = EPOCHS if parts is EPOCH else 1
        count = statistics.median(sum(lap.statements[name] for name in parts) for lap in laps)
        print(f"{what:20}{line([value / per for value in spread(laps, parts)])}{count / per:12.1f}")
    check("storage, record and mirror, ms a trial", spread(laps, storing)[1], STORAGE_LIMIT)
    check("the study's share of a trial of 10 s", spread(laps, study)[1] / TRIAL_MS, SHARE_LIMIT)


def line(values: Sequence[float]) -> str:
    low, median, high = values
    return f"{median:8.1f}  ({low:.1f} to {high:.1f})".ljust(32)


def check(what: str, value: float, limit: float) -> None:
    print(f"{what}: {value:.3g}, at most {limit:g}: {'reached' if value <= limit else 'NOT REACHED'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10 finished trials, 3 more; keeps nothing")
    options = parser.parse_args()
    finished, more = (10, 3) if options.quick else (100, 20)
    kept = Kept(None if options.quick else RESULTS, {"finished": finished, "more": more})
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        study = untaught(f"sqlite:///{folder / 'kdsearch.db'}", folder)
        study.laps(REAL)
        fill(study, finished)
        tick = mirroring(study, folder)
        study.laps(1, tick)
        laps = study.laps(more, tick)
    for number, lap in enumerate(laps):
        kept.add(f"{number:02}", {"seconds": lap.seconds, "statements": lap.statements})
    show(laps)


if __name__ == "__main__":
    main()
