"""Unusual statistics of an image are named with numbers."""

import numpy as np
import pytest

from breastus.data.image_statistics import STATISTICS, image_statistics, statistics_ranges, unusual


@pytest.fixture
def ranges(speckle):
    return statistics_ranges(image_statistics(speckle(60 + s, 80, s)) for s in range(5))


def test_values_within_the_ranges_are_not_unusual(speckle, ranges):
    for seed in range(5):
        assert unusual(image_statistics(speckle(60 + seed, 80, seed)), ranges) == {}


def test_values_equal_their_formulas():
    image = np.zeros((2, 4, 3), np.uint8)
    image[:, 2:] = 250
    found = image_statistics(image)
    assert (found["width"], found["height"], found["aspect"]) == (4, 2, 2)
    assert found["brightness"] == 125
    assert found["black"] == found["white"] == 0.5
    assert found["color"] == 0
    # Across: differences 0, 250, 0 in each row; down: none.
    assert found["detail"] == pytest.approx((250 / 3 + 0) / 2)


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        (lambda x: np.full_like(x, 255), "brightness_high"),
        (lambda x: x[:, :20], "width_low"),
        (lambda x: x * np.array([1, 0, 0], np.uint8), "color_high"),
        (lambda x: np.full_like(x, 128), "detail_low"),
    ],
)
def test_values_outside_the_ranges_are_named(speckle, ranges, change, flag):
    found = unusual(image_statistics(change(speckle(62, 80, 2))), ranges)
    assert flag in found
    assert "the training images have" in found[flag]


def test_single_pixels_are_measured():
    found = image_statistics(np.zeros((1, 1, 3), np.uint8))
    assert set(found) == set(STATISTICS)
    assert found["detail"] == 0
