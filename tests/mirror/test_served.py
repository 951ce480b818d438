from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from PIL import Image

from kdsearch.data.pixels import fitted as fitted_by_training
from kdsearch.data.pixels import opaque
from kdsearch.mirror.served import fitted, pixels_of, softmax
from kdsearch.tables import Fit

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (4, 6, 5, 3), np.uint8)
GRAY = COLOUR[..., :1]


@pytest.mark.parametrize("pixels", [COLOUR, GRAY], ids=["colour", "gray"])
def test_every_form_of_the_same_images_gives_the_same_pixels(pixels):
    first = pixels.transpose(0, 3, 1, 2)
    shares = (pixels / 255).astype(np.float32)
    forms = [pixels, first, pixels.astype(np.int64), shares, shares.transpose(0, 3, 1, 2), first / 255]
    forms += [pixels.tolist(), list(first), (first / 255).tolist(), [*map(Image.fromarray, COLOUR)]]
    for form in forms if pixels is COLOUR else forms[:-1]:
        assert pixels_of(form).dtype == np.uint8
        np.testing.assert_array_equal(pixels_of(form), pixels)


def test_three_axes_are_one_image():
    for image in (COLOUR[0], COLOUR[0].transpose(2, 0, 1), COLOUR[0] / 255):
        np.testing.assert_array_equal(pixels_of(image), COLOUR[:1])


def test_where_both_axes_could_be_the_channels_the_first_is():
    square = RANDOM.integers(0, 256, (2, 3, 5, 3), np.uint8)
    np.testing.assert_array_equal(pixels_of(square), square.transpose(0, 2, 3, 1))
    narrow = RANDOM.integers(0, 256, (2, 1, 5, 3), np.uint8)  # 2 gray images, 5 high and 3 wide
    assert pixels_of(narrow).shape == (2, 5, 3, 1)


@given(st.lists(st.integers(0, 255), min_size=12, max_size=12))
def test_floats_in_single_precision_are_the_whole_numbers_that_they_were(values):
    pixels = np.array(values, np.uint8).reshape(1, 2, 2, 3)
    np.testing.assert_array_equal(pixels_of(pixels.astype(np.float32) / np.float32(255)), pixels)


def test_no_images_are_no_mistake():
    assert pixels_of(np.empty((0, 3, 8, 8), np.float32)).shape == (0, 8, 8, 3)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((2, 8, 8), np.uint8), "the shape (2, 8, 8) is none of N x H x W x C"),
        (np.zeros((8, 8), np.uint8), "the shape (8, 8) is none of"),
        (np.zeros((2, 8, 8, 4), np.uint8), "the shape (2, 8, 8, 4) is none of"),
        (np.zeros((2, 0, 8, 3), np.uint8), "the shape (2, 0, 8, 3) is none of"),
        (np.zeros((1, 2, 3, 8, 8), np.uint8), "the shape (1, 2, 3, 8, 8) is none of"),
        (COLOUR.astype(np.float32), "values from 0 to 255; floats lie in 0..1"),
        (COLOUR / 255 - 0.5, "values from -0.5 to 0.5; floats lie in 0..1 (the network normalises inside)"),
        (np.full((1, 3, 2, 2), np.nan), "values from nan to nan; floats lie in 0..1"),
        (COLOUR.astype(np.int64) - 1, "values from -1 to 254; whole numbers in 0..255"),
        (COLOUR.astype(np.uint16) * 257, "values from 0 to 65535; whole numbers in 0..255"),
        (COLOUR > 9, "pixels of type bool: give whole numbers in 0..255"),
        ([COLOUR[0], COLOUR[0, 1:]], "images of different sizes: give them one by one"),
        ("photo.jpg", "the shape () is none of"),
    ],
)
def test_anything_else_is_refused_in_one_line(given, said):
    with pytest.raises(MlflowException) as caught:
        pixels_of(given)
    assert str(caught.value).startswith("images: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(8, 8), (40, 25), (9, 64), (7, 5), (1, 30)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fit", get_args(Fit))
def test_an_image_is_fitted_as_training_fits_a_file(shape, channels, fit):
    pixels = RANDOM.integers(0, 256, (*shape, channels), np.uint8)
    image = Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels)
    expected = np.broadcast_to(fitted_by_training(opaque(image), 8, fit), (3, 8, 8))
    np.testing.assert_array_equal(fitted(pixels, 8, fit == "crop"), expected)


def test_probabilities_of_large_logits_sum_to_one():
    shares = softmax(np.array([[1000.0, 0.0], [-1000.0, -1000.0]], np.float32))
    np.testing.assert_allclose(shares, [[1, 0], [0.5, 0.5]])
