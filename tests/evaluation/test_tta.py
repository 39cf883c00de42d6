"""Test-time augmentation: views pixel by pixel, means of logits, and what is refused."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from breastus.errors import ConfigError, DataError
from breastus.evaluation.tta import VIEWS, View, gain_table, margins, tta

images_of = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 3), st.just(20), st.just(20), st.just(3))
)


def noise(count=2, side=50, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def brightness(images):
    return images.mean(axis=(1, 2, 3)) / 255


def left(images):
    return images[:, :, : images.shape[2] // 2].mean(axis=(1, 2, 3)) / 255


def logit(p):
    return math.log(p / (1 - p))


@settings(max_examples=20, deadline=None)
@given(images_of, st.sampled_from(sorted(VIEWS)))
def test_views_keep_shape_and_begin_with_the_image(images, name):
    views = VIEWS[name]
    np.testing.assert_array_equal(views[0](images), images)
    assert len(set(views)) == len(views)
    for view in views:
        seen = view(images)
        assert (seen.shape, seen.dtype) == (images.shape, np.uint8)
        np.testing.assert_array_equal(view(images), seen)
        if view.flip and not any(view.crop):
            np.testing.assert_array_equal(view(seen), images)


def test_a_crop_is_resized_as_opencv_does():
    images = noise(side=50)
    view = View(crop=(4, 10, 6, 2))
    assert margins(50, view.crop) == (2, 5, 3, 1)
    assert margins(224, (4, 4, 6, 0)) == (9, 9, 13, 0)  # 8.96 and 13.44
    for image, seen in zip(images, view(images), strict=True):
        part = image[2:45, 3:49].astype(np.float32)
        expected = cv2.resize(part, (50, 50), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(seen, expected, atol=0.51)


def test_a_crop_of_a_ramp_worked_by_hand():
    # Four columns of which the first is cut: pixels lie at -0.125, 0.625, 1.375, 2.125 of three.
    image = np.broadcast_to(np.uint8([0, 100, 180, 220])[:, None], (1, 4, 4, 3)).copy()
    seen = View(crop=(0, 0, 25, 0))(image)
    assert seen[0, 2, :, 1].tolist() == [100, 150, 195, 220]


def test_gain_adds_decibels_and_leaves_black():
    table = gain_table(2.0)  # 8.5 levels
    assert (table[:11] == np.arange(11)).all()
    assert (table[22], table[100], table[255]) == (26, 108, 255)
    for decibels in (-5, -2, 2, 5):
        assert (np.diff(gain_table(decibels).astype(int)) >= 0).all()
    np.testing.assert_array_equal(View(gain=2.0)(noise()), table[noise()])


def test_the_mean_is_one_of_logits():
    images = noise()
    probability, spread = tta(left, views="flip")(images)
    one, other = left(images), left(images[:, :, ::-1])
    for number in range(2):
        mean = (logit(one[number]) + logit(other[number])) / 2
        assert probability[number] == pytest.approx(1 / (1 + math.exp(-mean)))
        assert spread[number] == pytest.approx(abs(one[number] - other[number]) / 2)


def test_classes_may_change_places_and_a_flip_changes_nothing_for_flips():
    images = noise()
    said = tta(left, views="all")(images)
    swapped = tta(lambda x: 1 - left(x), views="all")(images)
    np.testing.assert_allclose(said.probability, 1 - swapped.probability)
    np.testing.assert_allclose(said.spread, swapped.spread)
    mirrored = tta(left, views="flip")(images[:, :, ::-1])
    np.testing.assert_allclose(tta(left, views="flip")(images).probability, mirrored.probability)
    assert (tta(brightness, views="flip")(images).spread < 1e-12).all()


def test_one_sure_view_does_not_outvote_all():
    answers = iter([1.0, 0.01, 0.01, 0.01])
    said = tta(lambda x: np.full(len(x), next(answers)), views="flip_zoom")(noise(1))
    assert 0.4 < said.probability[0] < 0.6  # without a bound it were 1
    assert tta(lambda x: np.ones(len(x)), views="none")(noise(1)).probability > 0.99999


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (noise()[:0], r"at least one. Received: uint8 \[0, 50, 50, 3\]"),
        (noise().astype(float), "Received: float64"),
        (noise()[0], r"\[n, S, S, 3\]"),
        (noise()[:, :40], r"Received: uint8 \[2, 40, 50, 3\]"),
    ],
)
def test_other_images_are_refused(images, message):
    with pytest.raises(DataError, match=message):
        tta(brightness)(images)


def test_wrong_views_and_answers_are_refused():
    with pytest.raises(ConfigError, match=r"Did you mean flip_zoom\? Received: 'flip_zom'"):
        tta(brightness, views="flip_zom")
    with pytest.raises(ConfigError, match=r"at least one. Received: none"):
        tta(brightness, views=())
    with pytest.raises(ConfigError, match=r"from -5 to 5 dB. Received: 6"):
        gain_table(6)
    with pytest.raises(
        DataError, match=r"number 0 of the images in view 0 has none. Received: nan"
    ):
        tta(lambda x: np.full(len(x), np.nan))(noise())
    with pytest.raises(DataError, match=r"each of 2 images in view 0. Received: shape \(1,\)"):
        tta(lambda x: brightness(x)[:1])(noise())
    with pytest.raises(DataError, match="too small for the crop"):
        tta(brightness, views=[View(crop=(50, 50, 0, 0))])(noise())
