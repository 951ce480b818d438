"""The larger pictures from which training crops are cut."""

import pytest
import torch
from pydantic import ValidationError

from kdsearch.data.decode import at_size, decode
from kdsearch.data.image_folder import ImageFolder
from kdsearch.data.image_set import ImageSet, SearchSets
from kdsearch.data.sources import load_search_sets, load_test_set
from kdsearch.errors import DataError
from kdsearch.progress import Silence
from kdsearch.tables import DataConfig

SILENCE = Silence()


@pytest.fixture
def photos(tmp_path, draw_images):
    """Two classes of pictures of 40 x 30 pixels, and one of 12 x 12."""
    root = tmp_path / "photos"
    draw_images(root, "train/a/small.png", size=(12, 12))
    splits = (("train", 6), ("val", 2), ("test", 2))
    names = [f"{split}/{kind}/{n}.png" for split, count in splits for kind in "ab" for n in range(count)]
    return draw_images(root, *names, size=(40, 30))


def config(root, **data):
    return DataConfig(name="folder", path=str(root), image_size=10, **data)


def sides(sets):
    return [tuple(part.pixels.shape[-2:]) for part in (sets.train, sets.validation)]


def test_a_source_is_twice_as_large_and_images_are_as_without_one(photos):
    sets = load_search_sets(config(photos), 0, SILENCE)
    before = load_search_sets(config(photos, source_size=10), 0, SILENCE)
    assert (sides(sets), sides(before)) == ([(20, 20)] * 2, [(10, 10)] * 2)
    assert before.train.source is None
    assert sets.train.image_size == before.train.image_size == 10
    assert torch.equal(sets.train.images, before.train.images)
    assert torch.equal(sets.validation.images, before.validation.images)
    assert torch.equal(sets.train.source[1], decode(photos / "train" / "a" / "1.png", 20))
    assert sets.folder != before.folder
    assert sets.fingerprint != before.fingerprint


def test_test_images_need_no_source(photos):
    images = load_test_set(config(photos), 0, SILENCE)
    assert (images.source, images.image_size) == (None, 10)


@pytest.mark.parametrize(("asked", "side"), [({"source_size": 32}, 32), ({"source_size": 64}, 64)])
def test_a_study_may_give_its_size(photos, asked, side):
    assert sides(load_search_sets(config(photos, **asked), 0, SILENCE)) == [(side, side)] * 2


def test_a_source_is_no_larger_than_half_of_the_files(photos):
    large = DataConfig(name="folder", path=str(photos), image_size=18)
    assert sides(load_search_sets(large, 0, SILENCE)) == [(30, 30)] * 2
    larger = DataConfig(name="folder", path=str(photos), image_size=36)
    assert load_search_sets(larger, 0, SILENCE).train.source is None


def test_a_source_is_no_larger_than_memory_allows(photos):
    assert ImageFolder(photos, config(photos)).source_size == 20
    assert ImageFolder(photos, config(photos), source_bytes=17 * 3 * 15 * 15).source_size == 15


def test_a_part_of_a_set_keeps_its_source(tmp_path, draw_images):
    names = [f"{kind}/{n}.png" for kind in "ab" for n in range(9)]
    root = draw_images(tmp_path / "photos", *names, size=(40, 40))
    sets = load_search_sets(config(root, train_images=6), 0, SILENCE)
    assert [len(part.source) for part in (sets.train, sets.validation)] == [6, 4]
    for part in (sets.train, sets.validation):
        again = torch.stack([reduced_by_pillow(image) for image in part.source])
        assert (again.float() - part.images.float()).abs().mean() < 10
    assert SearchSets.open(sets.folder).fingerprint == sets.fingerprint


def reduced_by_pillow(image):
    return at_size(ImageSet(image[None], torch.zeros(1).long(), ("a",)), 10)[0]


def test_a_set_of_its_own_size_keeps_it_as_source():
    native = load_search_sets(DataConfig(), 0, SILENCE)
    assert native.train.source is None
    small = load_search_sets(DataConfig(image_size=4), 0, SILENCE)
    assert torch.equal(small.train.source, native.train.images)
    assert torch.equal(small.train.images, at_size(native.train, 4))
    assert torch.equal(at_size(small.train, 8), native.train.images)
    assert load_search_sets(DataConfig(image_size=4, source_size=4), 0, SILENCE).train.source is None
    assert load_search_sets(DataConfig(image_size=4, source_size=6), 0, SILENCE).train.pixels.shape[-1] == 6


def test_a_source_below_the_images_is_an_error():
    with pytest.raises(ValidationError, match="source_size = 32 is below image_size = 64"):
        DataConfig(name="folder", image_size=64, source_size=32)
    with pytest.raises(ValidationError, match="source_size = 64 is below image_size = 128"):
        DataConfig(name="folder", source_size=64)
    with pytest.raises(DataError, match=r"^data\.source_size = 6: below the images' 8;"):
        load_search_sets(DataConfig(source_size=6), 0, SILENCE)
