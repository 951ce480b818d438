"""A benchmark's parts, run by two processes and kept as they finish, and paired differences between them."""

import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil
from scipy.stats import t as student_t

T = TypeVar("T")
PROCESSES = min(2, len(psutil.Process().cpu_affinity()))


class Interval(NamedTuple):
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    def told(self, scale: float = 1.0, digits: int = 2) -> str:
        """The interval in words of a table, and whether it shows a difference."""
        mean, low, high = (f"{scale * value:+.{digits}f}" for value in self)
        return f"{mean} ({low} to {high}){'' if self.shown else '  not shown'}"

    @property
    def shown(self) -> bool:
        """Whether zero is outside."""
        return self.low > 0 or self.high < 0


def interval(differences: Sequence[float]) -> Interval:
    """By Student's t over the pairs; equal differences have an interval without width."""
    mean, pairs = statistics.fmean(differences), len(differences)
    half = student_t.ppf(0.975, pairs - 1) * statistics.stdev(differences) / pairs**0.5
    return Interval(mean, mean - half, mean + half)


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{psutil.cpu_count()} cores, {memory:.0f} GiB, no GPU; {PROCESSES} processes of one thread each"


class Kept:
    """The finished parts of a benchmark, in a file; the same settings started again go on from there."""

    def __init__(self, path: Path | None, settings: dict[str, Any], where: str | None = None) -> None:
        self.path, self.settings = path, json.loads(json.dumps(settings))
        self.where = where or machine()
        self.parts: dict[str, Any] = {}
        if path and path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["settings"] == self.settings:
                self.parts = stored["parts"]

    def add(self, name: str, part: Any) -> None:
        self.parts[name] = part
        if self.path:
            self.path.parent.mkdir(exist_ok=True)
            text = ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(self.parts.items()))
            head = f'"machine": {json.dumps(self.where)},\n"settings": {json.dumps(self.settings)}'
            self.path.write_text(f'{{{head},\n"parts": {{\n{text}\n}}}}\n', encoding="utf-8")


def in_processes(work: Callable[[Any], T], jobs: Iterable[Any]) -> Iterator[T]:
    """The answers to the jobs, each in a fresh process, as they come."""
    with get_context("spawn").Pool(PROCESSES, maxtasksperchild=1) as pool:
        yield from pool.imap_unordered(work, jobs)
