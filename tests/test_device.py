import pytest
import torch

from kdsearch.device import autocast, choose_device, describe, forked, seeded
from kdsearch.errors import UsageError


def test_auto_is_cuda_where_there_is_one():
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "", "mps", "meta", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there_is_one_line(name):
    with pytest.raises(UsageError, match=f"^--device {name}: ") as told:
        choose_device(name)
    assert "\n" not in str(told.value)


def test_a_cpu_computes_in_float32():
    with autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert describe(torch.device("cpu")) == "cpu"


def test_seeded_numbers_repeat_and_leave_no_trace():
    before = torch.get_rng_state()
    drawn = []
    for _ in range(2):
        with seeded(3):
            drawn.append(torch.rand(2))
    with forked():
        torch.rand(5)
    assert torch.equal(*drawn)
    assert torch.equal(torch.get_rng_state(), before)
