"""Runs work on many files in threads: the results in order, and a caller that may leave at any time."""

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from threading import Thread

from kdsearch.errors import DataError


def in_threads(work: Callable[[int], int], count: int) -> Generator[int]:
    """The results of `work` for 0 to `count` - 1, in order; a caller that leaves waits for started calls.

    A separate thread runs the pool: if a signal interrupts the main thread inside ThreadPoolExecutor, a lock
    stays held and the pool never ends. Reading a SimpleQueue can be interrupted anywhere.
    """
    results: SimpleQueue[Future[int] | None] = SimpleQueue()
    left = False

    def unless_left(index: int) -> int:
        return 0 if left else work(index)

    def run() -> None:
        try:
            with ThreadPoolExecutor() as pool:
                for future in [pool.submit(unless_left, index) for index in range(count)]:
                    wait([future])
                    results.put(future)
        finally:
            results.put(None)

    pooling = Thread(target=run, daemon=True)
    try:
        pooling.start()
        for _ in range(count):
            future = results.get()
            if future is None:
                raise DataError("no thread can be started; the system's limit of processes is reached")
            yield future.result()
    finally:
        left = True
        if pooling.is_alive():
            pooling.join()
