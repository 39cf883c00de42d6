import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from breastus.preprocessing.crop_and_resize import border_box, crop, resize


def trim_borders(image):
    return crop(image, border_box(image))


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(0, 30)] * 4), st.integers(0, 10))
def test_black_borders_of_any_width_are_cut(borders, level):
    top, bottom, left, right = borders
    inner = np.random.default_rng(0).integers(60, 255, (40, 50, 3), dtype=np.uint8)
    padded = np.pad(inner, ((top, bottom), (left, right), (0, 0)), constant_values=level)
    np.testing.assert_array_equal(trim_borders(padded), inner)


@pytest.mark.parametrize(("level", "trimmed"), [(10, True), (11, False)])
def test_black_ends_at_level_10(level, trimmed):
    padded = np.pad(np.full((40, 50, 3), 90, np.uint8), ((9, 9), (9, 9), (0, 0)))
    padded[padded == 0] = level
    assert (trim_borders(padded).shape == (40, 50, 3)) is trimmed


def test_dark_parts_inside_are_kept(speckle):
    image = speckle(40, 50)
    image[15:25] = 0
    np.testing.assert_array_equal(trim_borders(image), image)


def test_a_stray_mark_does_not_keep_a_border(speckle):
    image = np.pad(speckle(40, 200), ((20, 0), (0, 0), (0, 0)))
    image[5, 100] = 255  # one pixel of 200: half a per cent
    assert trim_borders(image).shape[0] == 40


@pytest.mark.parametrize("value", [0, 10])
def test_a_black_image_is_not_cropped(value):
    image = np.full((30, 20, 3), value, np.uint8)
    assert trim_borders(image).shape == (30, 20, 3)


def test_float_and_uint8_are_trimmed_alike(speckle):
    image = np.pad(speckle(40, 50), ((7, 3), (5, 9), (0, 0)))
    as_float = trim_borders(tf.constant(image, tf.float32))
    np.testing.assert_array_equal(trim_borders(image), as_float)


def test_resize_agrees_with_pillows_antialiased_bilinear(speckle):
    image = speckle(300, 400)
    ours = resize(image, 64).numpy()
    pillow = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR))
    assert np.abs(ours - pillow).max() <= 1  # both round to whole grey levels, at different places


def test_resize_gives_whole_levels(speckle):
    resized = resize(speckle(50, 70), 32).numpy()
    np.testing.assert_array_equal(resized, resized.astype(np.uint8))


def test_a_fine_checkerboard_turns_grey():
    board = np.indices((256, 256)).sum(0) % 2 * 255
    image = np.repeat(board[..., None], 3, -1).astype(np.uint8)
    resized = resize(image, 32).numpy()
    assert np.abs(resized - 127.5).max() < 3  # without antialiasing it stays black and white


@pytest.mark.parametrize(("height", "width"), [(60, 120), (120, 60), (64, 64), (33, 100)])
def test_the_aspect_is_kept_between_black_bars_of_one_width(height, width):
    image = np.full((height, width, 3), 200, np.uint8)
    kept = resize(image, 64, aspect="keep").numpy()[..., 0]
    lit = kept == 200
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    shown = len(rows), len(columns)
    assert max(shown) == 64
    assert abs(shown[0] / shown[1] - height / width) < 0.05
    for seen in (rows, columns):
        assert abs(seen[0] - (63 - seen[-1])) <= 1
    assert set(np.unique(kept)) <= {0, 200}
