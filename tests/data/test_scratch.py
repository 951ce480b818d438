import re
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from kdsearch.cache import making
from kdsearch.data.scratch import blank, mapped, picked, scratch
from kdsearch.errors import CacheDamagedError, DataError, KdsearchError


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


def test_a_file_s_room_is_taken_before_it_is_written(tmp_path):
    """Else a disk that fills up kills whoever writes to the mapped file; here a limit stands for the disk."""
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = blank(tmp_path / "small.npy", (4, 1024), np.uint8)
    assert (tmp_path / "small.npy").stat().st_blocks * 512 >= room.numel()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, most))
        with (
            pytest.raises(KdsearchError, match=r"no room for the cache \(.*\); .*KDSEARCH_CACHE"),
            making(tmp_path / "kind" / "key", 0) as folder,
        ):
            blank(folder / "images.npy", (4, 2**20), np.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    assert list((tmp_path / "kind").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"noise", b"\x93NUMPY\x01\x00\xff\xff"])
def test_what_is_no_array_is_damaged(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(CacheDamagedError, match=r"a\.npy: damaged"):
        mapped(tmp_path / "a.npy")


def test_picked_images_come_in_the_order_asked_for():
    images = torch.arange(60, dtype=torch.uint8).reshape(10, 1, 2, 3)
    indices = torch.tensor([9, 0, 3, 3, 8, 1])
    assert torch.equal(picked(images, indices, at_once=4), images[indices])
    assert picked(images, indices[:0]).shape == (0, 1, 2, 3)
