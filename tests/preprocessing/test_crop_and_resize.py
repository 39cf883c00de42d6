import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from breastus.preprocessing import crop_and_resize
from breastus.preprocessing.crop_and_resize import (
    border_box,
    crop,
    distinct_planes,
    resize,
    resize_batch,
)


def trim_borders(image):
    _, brightest = distinct_planes(image)
    return crop(image, border_box(brightest))


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


@st.composite
def noise(draw):
    """Return an image [H, W, 3] of pixels that differ as much as can be."""
    shape = draw(st.integers(1, 90)), draw(st.integers(1, 90)), 3
    return np.random.default_rng(draw(st.integers(0, 99))).choice(
        np.uint8([0, 1, 127, 254, 255]), shape
    )


@settings(max_examples=30, deadline=None)
@given(noise(), st.sampled_from([1, 17, 32, 50]))
def test_resize_is_within_a_level_of_tensorflows(image, size):
    theirs = tf.image.resize(image, [size, size], method="bilinear", antialias=True)
    assert np.abs(resize(image, size) - theirs).max() < 1.5  # rounded: one level


def test_resize_mostly_equals_tensorflows(speckle):
    image = speckle(300, 400)
    theirs = tf.round(tf.image.resize(image, [64, 64], method="bilinear", antialias=True))
    assert (resize(image, 64) != theirs).numpy().mean() < 0.05


@settings(max_examples=20, deadline=None)
@given(noise(), st.sampled_from(["squash", "keep"]))
def test_a_mirrored_image_gives_the_mirrored_result(image, aspect):
    if aspect == "keep":
        sides = [max(32 * length // max(image.shape[:2]), 1) for length in image.shape[:2]]
        assume(sides[0] % 2 == sides[1] % 2 == 0)  # bars of one width on both sides
    resized = resize(image, 32, aspect=aspect).numpy()
    for axis in (0, 1):
        mirrored = resize(np.flip(image, axis), 32, aspect=aspect).numpy()
        np.testing.assert_array_equal(mirrored, np.flip(resized, axis))


@settings(max_examples=20, deadline=None)
@given(noise())
def test_each_plane_is_resized_as_a_grey_image(image):
    resized = resize(image, 20).numpy()
    for channel in range(3):
        plane = resize(image[..., channel : channel + 1], 20)
        np.testing.assert_array_equal(plane[..., 0], resized[..., channel])


@pytest.mark.parametrize("shape", [(8, 8), (20, 900), (33, 224), (500, 40), (224, 225)])
@pytest.mark.parametrize("level", [1, 255])
def test_a_constant_image_stays_constant(shape, level):
    assert (resize(np.full((*shape, 3), level, np.uint8), 224).numpy() == level).all()


def test_images_of_a_batch_are_resized_one_by_one():
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 45, 3), dtype=np.uint8)
    for image, resized in zip(images, resize_batch(tf.constant(images), 50), strict=True):
        np.testing.assert_array_equal(resized, resize(image, 50))


@pytest.mark.parametrize("size", [22, 224, 384, 1024])
@pytest.mark.parametrize("length", [1, 300, 3_000, 7_200, 10_000])
def test_sums_are_exact_in_float32(monkeypatch, size, length):
    """Whole numbers below 2**24 are, in any order; factors of 11 bits are exact in TF32."""
    factors, sums = [], []

    def matmul(weights, lines):
        factors.extend([weights, lines])
        sums.append(np.matmul(weights.numpy().astype(float), lines.numpy()))
        return tf.constant(sums[-1], tf.float32)

    monkeypatch.setattr(crop_and_resize.tf, "matmul", matmul)
    resize(np.full((length, 1, 1), 255, np.uint8), size)  # rows first ...
    resize(np.full((1, length, 1), 255, np.uint8), size)  # ... then columns, in eighths
    assert max(np.abs(one).max() for one in sums) < 2**24
    assert all(np.array_equal(one, np.rint(one)) for one in sums)
    assert max(np.abs(one).max() for one in factors) <= 2**11
    assert all(np.array_equal(one, np.rint(one)) for one in factors)


def test_grey_images_have_one_plane(speckle):
    image = speckle(20, 30)
    planes, brightest = distinct_planes(image)
    np.testing.assert_array_equal(planes, image[..., :1])
    np.testing.assert_array_equal(brightest, image[..., 0])
    image[19, 29, 2] ^= 1
    planes, brightest = distinct_planes(image)
    np.testing.assert_array_equal(planes, image)
    np.testing.assert_array_equal(brightest, image.max(-1))


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
