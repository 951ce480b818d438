"""How long a student takes, measured where it is exported."""

import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from kdsearch.deliver.onnx_runtime import NETWORKS, open_onnx
from kdsearch.device import describe
from kdsearch.models.student import Network
from kdsearch.names import escaped

BATCHES = (1, 32)
SECONDS = 0.1  # that each median is taken over


class Latency(NamedTuple):
    """Milliseconds for a batch, the median."""

    where: str
    batch: int
    milliseconds: float


@torch.inference_mode()
def measured(student: Network, export: Path, image_size: int) -> list[Latency]:
    """What ONNX Runtime runs of an export, and the student, on one thread of this CPU; that on a GPU too."""
    rows: list[Latency] = []
    cpu, threads = f"one thread of this CPU ({platform.machine()})", torch.get_num_threads()
    torch.set_num_threads(1)
    for images in (torch.rand(batch, 3, image_size, image_size) for batch in BATCHES):
        for path in (export / name for name in NETWORKS.values()):
            if path.exists():
                taken = _milliseconds(partial(open_onnx(path, threads=1), images.numpy()))
                rows.append(Latency(f"{path.name}, ONNX Runtime, {cpu}", len(images), taken))
        rows.append(Latency(f"PyTorch, {cpu}", len(images), _milliseconds(partial(student, images))))
    torch.set_num_threads(threads)
    return [*rows, *_on_gpu(student, image_size)] if torch.cuda.is_available() else rows


def _on_gpu(student: Network, image_size: int) -> list[Latency]:
    gpu = torch.device("cuda")
    there, rows = student.to(gpu), []
    for images in (torch.rand(batch, 3, image_size, image_size, device=gpu) for batch in BATCHES):
        taken = _milliseconds(partial(_finished, there, images))
        rows.append(Latency(f"PyTorch, {describe(gpu)}", len(images), taken))
    student.cpu()
    return rows


def _finished(student: Network, images: Tensor) -> None:
    student(images)
    torch.cuda.synchronize()


def _milliseconds(run: Callable[[], object]) -> float:
    run()  # the first one prepares what the others use
    times: list[float] = []
    while sum(times) < SECONDS:
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return 1000 * median(times)


def latency_section(latencies: Sequence[Latency]) -> str:
    """Markdown: a row for each."""
    rows = "".join(
        f"| {escaped(each.where)} | {each.batch} | {each.milliseconds:.2f} | "
        f"{1000 * each.batch / each.milliseconds:,.0f} |\n"
        for each in latencies
    )
    return (
        "## Speed\n\nThe median on the machine that made this export; others differ.\n\n"
        f"| where | images in a batch | ms for a batch | images/s |\n|---|---:|---:|---:|\n{rows}"
    )
