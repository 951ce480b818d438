import re
from pathlib import Path

import pytest
import torch

from kdsearch.data.scratch import picked, scratch
from kdsearch.errors import DataError


def test_the_room_is_blank_writable_and_leaves_no_file(cache):
    room = scratch((5, 3, 2, 2))
    assert room.dtype == torch.uint8
    assert not room.any()
    room[3] = 7
    assert int(room.sum()) == 7 * 12
    assert list(cache.iterdir()) == []


def test_it_is_no_memory_of_the_process():
    def anonymous():
        (found,) = re.findall(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
        return int(found)

    before = anonymous()
    room = scratch((64, 3, 512, 512))  # 48 MiB
    room.fill_(1)
    assert int(room[63].sum()) == 3 * 512 * 512
    assert anonymous() - before < 16 * 1024


def test_a_full_disk_is_said_in_a_line(cache):
    with pytest.raises(DataError, match=rf"^{cache}: .* GiB for images: .*KDSEARCH_CACHE"):
        scratch((2**40, 3, 2**6, 2**6))


def test_picked_images_come_in_the_order_asked_for(monkeypatch):
    monkeypatch.setattr("kdsearch.data.scratch.ROWS", 4)
    images = torch.arange(60, dtype=torch.uint8).reshape(10, 1, 2, 3)
    indices = torch.tensor([9, 0, 3, 3, 8, 1])
    assert torch.equal(picked(images, indices), images[indices])
    assert picked(images, indices[:0]).shape == (0, 1, 2, 3)
