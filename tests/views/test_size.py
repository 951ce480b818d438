"""What views take on the disk, and how many a study gets."""

import shutil

import pytest
import torch

from kdsearch.errors import KdsearchError, UsageError
from kdsearch.progress import Silence
from kdsearch.tables import AugmentationConfig, ViewsConfig
from kdsearch.views.augment import Augmentation
from kdsearch.views.bank import ViewBank
from kdsearch.views.build import ViewBuilder, affordable_views, view_bytes

GIB = 2**30


def test_a_view_s_size_is_its_pixels_and_answers_in_half_precision(builder):
    making = builder()
    making.build(0, Silence())
    files = sum(path.stat().st_size for path in making.bank.path(0).glob("*.npy"))
    assert (
        0 < files - view_bytes(making.images.shape, 5, [making.bank.teachers["teacher"].embedding]) < 3 * 256
    )  # three headers
    assert view_bytes((10, 3, 4, 4), 5, [6, 2]) == 480 + 2 * 10 * (11 + 7)


def test_a_study_gets_no_more_views_than_it_asked_for_has_epochs_or_fit():
    config = ViewsConfig(count=8, bank_gib=0.01)
    assert affordable_views(config, 1000, epochs=30) == 8
    assert affordable_views(config, 1000, epochs=3) == 3
    assert affordable_views(config, int(0.004 * GIB), epochs=30) == 2


def test_a_bank_that_holds_no_view_says_how_much_is_missing(tmp_path):
    with pytest.raises(
        UsageError, match=r"a view takes 512 MiB, 256 MiB more than there is room for"
    ) as told:
        affordable_views(ViewsConfig(bank_gib=0.25), GIB // 2, epochs=3)
    assert str(told.value).startswith(f"{tmp_path / 'cache'}: ")
    assert "views.bank_gib" in str(told.value)
    assert "\n" not in str(told.value)


def test_half_of_the_free_disk_is_left(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(UsageError, match="more than there is room for"):
        affordable_views(ViewsConfig(bank_gib=1e9), int(free * 0.6), epochs=3)


def test_a_machine_that_cannot_hold_the_next_view_says_so(tmp_path, teacher):
    bank = ViewBank(folder=tmp_path / "views", count=1, classes=5, teachers={"teacher": {"embedding": 6}})
    huge = torch.empty((10**12, 3, 64, 64), dtype=torch.uint8, device="meta")
    builder = ViewBuilder(bank, huge, Augmentation(AugmentationConfig(), 64), teacher, 0)
    with pytest.raises(KdsearchError, match="GiB too little free disk for the cache"):
        builder.build(0, Silence())
    assert not bank.exists(0)
