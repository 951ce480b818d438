import pytest

from kdsearch.run.crew import share_of


@pytest.mark.parametrize(
    ("worker", "share"),
    [
        ((3, 4, "cpu", 0), ("cpu", 4, 1)),
        ((0, 2, "cuda", 2), ("cuda:0", 1, 4)),
        ((1, 2, "cuda", 2), ("cuda:1", 1, 4)),
        ((2, 3, "cuda", 2), ("cuda:0", 2, 2)),
        ((3, 4, "cuda:1", 1), ("cuda:1", 4, 2)),
        ((9, 10, "cuda", 1), ("cuda:0", 10, 1)),
    ],
)
def test_workers_share_gpus_and_cores(worker, share):
    assert tuple(share_of(*worker, cores=8).values()) == share
