"""Views of test-time augmentation, pixel by pixel, in the NumPy reference of the graph."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy_views import apply_view

from breastus.errors import ConfigError
from breastus.evaluation.tta import VIEWS, View, gain_table, margins

images_of = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 3), st.just(20), st.just(20), st.just(3))
)


def noise(count=2, side=50, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@settings(max_examples=20, deadline=None)
@given(images_of, st.sampled_from(sorted(VIEWS)))
def test_views_keep_shape_and_begin_with_the_image(images, name):
    views = VIEWS[name]
    np.testing.assert_array_equal(apply_view(views[0], images), images)
    assert len(set(views)) == len(views)
    for view in views:
        seen = apply_view(view, images)
        assert (seen.shape, seen.dtype) == (images.shape, np.uint8)
        np.testing.assert_array_equal(apply_view(view, images), seen)
        if view.flip and not any(view.crop):
            np.testing.assert_array_equal(apply_view(view, seen), images)


def test_a_crop_is_resized_as_opencv_does():
    images = noise(side=50)
    view = View(crop=(4, 10, 6, 2))
    assert margins(50, view.crop) == (2, 5, 3, 1)
    assert margins(224, (4, 4, 6, 0)) == (9, 9, 13, 0)  # 8.96 and 13.44
    for image, seen in zip(images, apply_view(view, images), strict=True):
        part = image[2:45, 3:49].astype(np.float32)
        expected = cv2.resize(part, (50, 50), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(seen, expected, atol=1)


def test_a_crop_of_a_ramp_worked_by_hand():
    # Four columns of which the first is cut: pixels lie at -0.125, 0.625, 1.375, 2.125 of three.
    image = np.broadcast_to(np.uint8([0, 100, 180, 220])[:, None], (1, 4, 4, 3)).copy()
    seen = apply_view(View(crop=(0, 0, 25, 0)), image)
    assert seen[0, 2, :, 1].tolist() == [100, 150, 195, 220]


def test_gain_adds_decibels_and_leaves_black():
    table = gain_table(2.0)  # 8.5 levels
    assert (table[:11] == np.arange(11)).all()
    assert (table[22], table[100], table[255]) == (26, 108, 255)
    for decibels in (-5, -2, 2, 5):
        assert (np.diff(gain_table(decibels).astype(int)) >= 0).all()
    np.testing.assert_array_equal(apply_view(View(gain=2.0), noise()), table[noise()])


def test_a_gain_that_makes_levels_overtake_is_refused():
    with pytest.raises(ConfigError, match=r"from -5 to 5 dB. Received: 6"):
        gain_table(6)
