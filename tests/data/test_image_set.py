import subprocess
import sys

import pytest
import torch

from kdsearch.data.image_set import ImageSet, SearchSets

GENERATOR = torch.Generator().manual_seed(0)


def image_set(channels=3, count=30):
    images = torch.randint(0, 256, (count, channels, 6, 6), dtype=torch.uint8, generator=GENERATOR)
    return ImageSet(images, torch.arange(count) % 3, ("a", "b", "ü"))


def test_a_saved_set_opens_equal(tmp_path):
    saved = image_set()
    saved.save(tmp_path / "set")
    opened = ImageSet.open(tmp_path / "set")
    assert torch.equal(opened.images, saved.images)
    assert torch.equal(opened.labels, saved.labels)
    assert (opened.classes, opened.fingerprint) == (saved.classes, saved.fingerprint)
    assert opened.mean_std() == saved.mean_std()


def test_the_stored_fingerprint_is_that_of_the_content(tmp_path):
    image_set().save(tmp_path / "set")
    opened = ImageSet.open(tmp_path / "set")
    assert ImageSet(opened.images, opened.labels, opened.classes).fingerprint == opened.fingerprint


def test_the_fingerprint_names_pixels_shape_labels_and_classes():
    first = image_set()
    pixels, labels = first.images.clone(), first.labels.clone()
    pixels[3, 0, 0, 0] += 1
    labels[3] += 1
    others = [
        ImageSet(pixels, first.labels, first.classes),
        ImageSet(first.images, labels, first.classes),
        ImageSet(first.images, first.labels, ("a", "b", "c")),
        ImageSet(first.images.reshape(30, 3, 4, 9), first.labels, first.classes),
    ]
    assert len({each.fingerprint for each in [first, *others]}) == 5


def test_a_selection_has_a_fingerprint_of_its_own(tmp_path):
    image_set().save(tmp_path / "set")
    opened = ImageSet.open(tmp_path / "set")
    assert opened.select(torch.arange(29)).fingerprint != opened.fingerprint


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_deviation_are_those_of_the_pixels(channels):
    found = image_set(channels, 5000)
    pixels = found.images.double().div(255).transpose(0, 1).reshape(channels, -1).expand(3, -1)
    mean, std = found.mean_std()
    assert mean == pytest.approx(pixels.mean(1).tolist(), abs=1e-12)
    assert std == pytest.approx(pixels.std(1, correction=0).tolist(), abs=1e-12)


def test_a_constant_channel_can_be_divided_by():
    black = ImageSet(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(2), ("a",))
    assert black.mean_std()[1] == (1 / 255,) * 3


def test_search_sets_open_from_their_folder_alone(tmp_path):
    made = SearchSets.make(tmp_path / "sets", image_set(), image_set(), "a note", 2)
    opened = SearchSets.open(made.folder)
    assert (opened.note, opened.skipped, opened.fingerprint) == ("a note", 2, made.fingerprint)
    assert torch.equal(opened.validation.images, made.validation.images)


def test_opened_sets_may_be_written_to_without_touching_the_cache(tmp_path):
    made = SearchSets.make(tmp_path / "sets", image_set(), image_set(), "", 0)
    made.train.images.zero_()
    assert SearchSets.open(made.folder).train.images.any()


def loaded_by(*modules):
    """What a fresh process has loaded that imports these."""
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(answer.stdout.split())


def test_workers_open_sets_without_the_libraries_that_make_them():
    loaded = loaded_by("kdsearch.data.image_set", "kdsearch.tables")
    assert not {"torchvision", "sklearn", "kornia", "mlflow", "PIL"} & loaded


def test_only_digits_load_scikit_learn():
    assert not {"sklearn", "scipy"} & loaded_by("kdsearch.run.preparing")
