"""What one more trial costs a study that has 10, 100, 1,000 or 5,000: SQLite beside PostgreSQL.

    python benchmarks/scaling.py            both databases, 5 more trials at each size
    python benchmarks/scaling.py --quick    both databases, 10 and 100 trials, 2 more at each

The study is `digits` with 30 epochs; a worker's loop runs real trials whose training takes no time. The other
finished trials are copies of such ones with other parameters, values and curves. Prints, as medians: the
first look of a new worker at all trials; the ask, which is all from the worker's look at the study to a new
trial's config that no other trial has; what does not depend on the study (the width solved, the student
built, memory given back); an epoch's record, report and question to the pruner; a trial's end; the look of
the supervisor, twice a second, and of the mirror, every two seconds. An ask at 1,000 trials has to stay
below 0.5 s. Keeps `benchmarks/results/scaling.json`.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finished import fill
from paired import Kept
from untrained import ASKING, BUILDING, ENDING, EPOCH, EPOCHS, STUDY, Lap, Untaught, untaught

from kdsearch.mirror.study_rows import trial_rows
from kdsearch.store.identity import open_study
from kdsearch.store.status import standing
from kdsearch.store.storage import open_storage
from kdsearch.store.trials import Trials

RESULTS = Path(__file__).parent / "results" / "scaling.json"
SIZES, MORE = (10, 100, 1000, 5000), 5
QUICK_SIZES, QUICK_MORE = (10, 100), 2
REAL = 8  # the study's first trials, of which the others are copies: baselines and random ones
ASK_LIMIT, ASK_AT = 0.5, 1000  # seconds, trials


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """The URLs of an empty SQLite file and an empty database of a real PostgreSQL."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.servers import postgres_server  # noqa: PLC0415

    with postgres_server() as server:
        yield {"sqlite": f"sqlite:///{folder / 'kdsearch.db'}", "postgresql": server.new_database()}


def measure(study: Untaught, more: int) -> dict[str, float]:
    """Milliseconds, and SQL statements, of one more trial; medians of `more`, after one that is not told."""
    storage = open_storage(study.url)
    fresh = open_study(storage, STUDY)
    first = seconds(lambda: fresh.get_trials(deepcopy=False), 1)
    known: dict[int, Any] = {}
    before = Trials.of(fresh)
    trial_rows(before, known)
    looks = {
        "supervisor": seconds(lambda: standing(1, Trials.of(fresh, before)), more),
        "mirror": seconds(lambda: trial_rows(Trials.of(fresh, before), known), more),
    }
    storage.engine.dispose()
    study.laps(1)
    return {
        **told(study.laps(more)),
        **{name: 1e3 * value for name, value in looks.items()},
        "first look": 1e3 * first,
    }


def told(laps: Sequence[Lap]) -> dict[str, float]:
    """The medians over the laps of what belongs together, and of the largest parts."""
    groups = {"ask": ASKING, "building": BUILDING, "epoch": EPOCH, "end": ENDING, "suggest": ("suggest",)}
    found = {}
    for name, parts in groups.items():
        per = EPOCHS if name == "epoch" else 1
        found[name] = 1e3 * statistics.median(sum(lap.seconds[p] for p in parts) for lap in laps) / per
        count = statistics.median(sum(lap.statements[p] for p in parts) for lap in laps) / per
        found[f"{name} statements"] = count
    return found


def seconds(call: Callable[[], object], times: int) -> float:
    """The median time of a call."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


COLUMNS = ("ask", "suggest", "epoch", "end", "building", "supervisor", "mirror", "first look")


def show(parts: dict[str, dict[str, float]], sizes: Sequence[int]) -> None:
    print("\nms" + " " * 20 + "".join(f"{name:>12}" for name in COLUMNS))
    for name, row in sorted(parts.items(), key=lambda part: (part[0].split()[0], int(part[0].split()[1]))):
        print(f"{name:22}" + "".join(f"{row[column]:12.1f}" for column in COLUMNS))
        counts = (
            f"{row[key]:12.1f}" if (key := f"{column} statements") in row else " " * 12 for column in COLUMNS
        )
        print(f"{'  SQL statements':22}" + "".join(counts))
    if ASK_AT in sizes:
        for database in ("sqlite", "postgresql"):
            ask = parts[f"{database} {ASK_AT}"]["ask"] / 1e3
            word = "reached" if ask < ASK_LIMIT else "NOT REACHED"
            print(f"ask at {ASK_AT:,} on {database}: {ask:.3f} s, has to stay below {ASK_LIMIT} s: {word}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10 and 100 trials; keeps nothing")
    options = parser.parse_args()
    sizes, more = (QUICK_SIZES, QUICK_MORE) if options.quick else (SIZES, MORE)
    kept = Kept(None, {}) if options.quick else Kept(RESULTS, {"sizes": sizes, "more": more})
    with tempfile.TemporaryDirectory() as place, databases(Path(place)) as urls:
        studies = {name: untaught(url, Path(place) / name) for name, url in urls.items()}
        for study in studies.values():
            study.laps(REAL)
        for size in sizes:
            for name, study in studies.items():
                fill(study, size)
                kept.add(f"{name} {size}", measure(study, more))
                print(f"{name} {size}", kept.parts[f"{name} {size}"]["ask"], flush=True)
        for study in studies.values():
            study.storage.engine.dispose()
            study.record.engine.dispose()
    show(kept.parts, sizes)


if __name__ == "__main__":
    main()
