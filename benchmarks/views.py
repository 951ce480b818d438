"""How many views a search needs: banks of V views beside augmentation drawn anew, on a part of food101-10.

    python benchmarks/views.py            2 losses, 6 ways, 5 seeds, about 20 minutes on 2 cores
    python benchmarks/views.py --quick    2 losses, 2 ways, 2 seeds of 2 epochs; keeps nothing

One student of about 56,000 parameters trains for 30 epochs, with `ce` and with `kl` at their defaults (alpha
0.5). A bank of V views shows view e mod V in epoch e, with the teacher's stored answers. `fresh` draws the
augmentation of each batch anew and asks the teacher about it. The steps are the same for all, as are, in one
seed, the first weights and which images a batch holds. Thirty views are made once; a seed's banks begin with
a view of its own among them.

Prints for each loss the mean accuracy on the 1,250 test images and what it is more than that of `fresh` and
than that of the most views, with 95 % intervals over the seeds, `not shown` where they hold zero; then the
smallest V from which on nothing is told from either. The most views tell more: a seed's banks share their
first views, and `fresh` has other pixels. Keeps `benchmarks/results/views.json` after each training, and goes
on from there.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fashion import alone
from food import FULL, QUICK, Size, open_new, test_images
from paired import Interval, Kept, in_processes, interval, machine
from torch import Tensor

from kdsearch.data.image_set import SearchSets
from kdsearch.distill.kl import KL
from kdsearch.engine.evaluate import evaluate
from kdsearch.engine.training import Training, never
from kdsearch.models.measure import parameters_of
from kdsearch.models.student import student_outputs
from kdsearch.outputs import Outputs
from kdsearch.phases.bench import Bench, Prepared
from kdsearch.run.child import quiet
from kdsearch.store.identity import open_study, stored_study
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import SEARCH, Run
from kdsearch.store.storage import open_storage
from kdsearch.study.architecture import Architecture
from kdsearch.study.teachers import ONLY
from kdsearch.study.trial_config import TrialConfig
from kdsearch.views.augment import Augmentation
from kdsearch.views.bank import ViewBank
from kdsearch.views.batches import Batch, Batches, FreshBatches, ViewBatches

RESULTS = Path(__file__).parent / "results" / "views.json"
NAME = "views"
LOSSES = ("ce", "kl")
FRESH = "fresh"
STUDENT = Architecture(family="plain", depth_1=1, depth_2=1, depth_3=1, growth=2.0)
MAX_PARAMS = 56_500
BATCH_SIZE = 64
APART = 6  # views between the first ones of two seeds


class Scale(NamedTuple):
    """How much is trained."""

    size: Size
    seeds: int
    epochs: int
    counts: tuple[int, ...]  # of views; the last is as many as there are


WHOLE = Scale(FULL, 5, 30, (1, 4, 8, 16, 30))
SMALL = Scale(QUICK, 2, 2, (2,))


class Place(NamedTuple):
    """Where the one study is whose views and teacher all trainings use."""

    url: str
    prepared: Prepared


class Turned(ViewBank):
    """Views of a bank that has `whole` of them: number `first` comes first, and after the last number 0."""

    first: int
    whole: int

    def path(self, number: int) -> Path:
        """The folder of view `number` of these."""
        return super().path((self.first + number) % self.whole)


class Asked:
    """Fresh batches with a live teacher's answers."""

    def __init__(self, batches: FreshBatches, teacher: Callable[[Tensor], Outputs]) -> None:
        self.batches, self.teacher, self.steps = batches, teacher, batches.steps

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from number `start` on."""
        for batch in self.batches.epoch(epoch, start):
            yield batch._replace(teacher=self.teacher(batch.images))


def train(job: tuple[Scale, Place, str]) -> tuple[str, dict[str, Any]]:
    scale, place, name = job
    alone()
    seed, loss, views = name.split()
    study = open_study(open_storage(place.url), NAME)
    bench = Bench(stored_study(study), place.prepared, StudyRecord(place.url, NAME), never)
    config = TrialConfig(
        student=bench.fitted(STUDENT.student({}, bench.classes, bench.image_size), 1.0),
        loss=loss,
        losses={} if loss == "ce" else {"kl": KL.Config().model_dump()},
        alpha=0.0 if loss == "ce" else 0.5,
        training=Training.Config(epochs=scale.epochs, batch_size=BATCH_SIZE),
    )
    training = bench.training(config, Run(SEARCH, int(seed), 0))
    training.batches = batches(bench, place, int(seed), loss, views)
    seconds = sum(result.seconds for result in training)
    return name, {
        "test_accuracy": round(evaluate(training.final, student_outputs, *test_images()).accuracy, 5),
        "validation_accuracy": round(training.last.val_accuracy, 5),
        "parameters": parameters_of(config.student),
        "seconds": round(seconds, 1),
    }


def batches(bench: Bench, place: Place, seed: int, loss: str, views: str) -> Batches:
    if views == FRESH:
        images = SearchSets.open(place.prepared.data).train.pixels
        augment = Augmentation(bench.study.augmentation, bench.image_size)
        fresh = FreshBatches(images, bench.labels, augment, BATCH_SIZE, seed)
        return fresh if loss == "ce" else Asked(fresh, bench.live_teacher(ONLY))
    whole = bench.bank.count
    part = {**bench.bank.model_dump(), "count": int(views)}
    return ViewBatches(
        Turned(**part, first=seed * APART % whole, whole=whole),
        bench.labels,
        BATCH_SIZE,
        seed,
        teachers=() if loss == "ce" else (ONLY,),
        reads=KL.reads,
        wait=lambda _: None,
    )


def accuracies(parts: dict[str, Any], scale: Scale, loss: str, views: object) -> list[float]:
    """In percent, by seed."""
    return [100 * parts[f"{seed} {loss} {views}"]["test_accuracy"] for seed in range(scale.seeds)]


def show(parts: dict[str, Any], scale: Scale) -> None:
    most = scale.counts[-1]
    print(f"\ntest accuracy  mean, %   less that of fresh, 95 %             less that of V = {most}")
    for loss in LOSSES:
        fresh, last = (accuracies(parts, scale, loss, views) for views in (FRESH, most))
        smallest = None
        for count in scale.counts:
            reached = accuracies(parts, scale, loss, count)
            beside = (fresh,) if count == most else (fresh, last)
            less = [less_than(reached, others) for others in beside]
            smallest = None if any(each.shown for each in less) else smallest or count
            told = "   ".join(f"{each.told():34}" for each in less).rstrip()
            print(f"{loss}  V = {count:<6} {statistics.fmean(reached):8.2f}   {told}")
        print(f"{loss}  {FRESH:10} {statistics.fmean(fresh):8.2f}")
        print(f"{loss}: the smallest V from which on nothing is told from either: {smallest or 'none'}")


def less_than(reached: list[float], others: list[float]) -> Interval:
    """Paired by seed."""
    return interval([mine - theirs for mine, theirs in zip(reached, others, strict=True)])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2 seeds of 2 epochs; keeps nothing")
    scale = SMALL if parser.parse_args().quick else WHOLE
    print(machine())
    settings = {**scale._asdict(), "size": scale.size._asdict(), "max_params": MAX_PARAMS}
    kept = Kept(None if scale is SMALL else RESULTS, settings)
    names = [
        f"{seed} {loss} {views}"
        for seed in range(scale.seeds)
        for loss in reversed(LOSSES)  # the longest trainings first
        for views in (FRESH, *scale.counts)
    ]
    missing = [name for name in names if name not in kept.parts]
    with tempfile.TemporaryDirectory() as folder:
        if missing:
            quiet()
            given = {"views.count": scale.counts[-1], "training.epochs": scale.epochs}
            opened = open_new(NAME, 0, scale.size, Path(folder), {**given, "budget.max_params": MAX_PARAMS})
            place = Place(str(opened.record.engine.url), opened.prepared)
            for name, training in in_processes(train, [(scale, place, each) for each in missing]):
                kept.add(name, training)
                print(name, json.dumps(training), flush=True)
    show(kept.parts, scale)


if __name__ == "__main__":
    main()
