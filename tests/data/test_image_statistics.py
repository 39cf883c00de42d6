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


@pytest.mark.parametrize(
    ("name", "value", "low", "high", "texts"),
    [
        ("white", 0.001, 0.0, 0.0004, ("0.1 %", "0.0 %")),
        ("white", 0.00013, 0.0, 0.00012, ("0.013 %", "0.012 %")),
        ("width", 20.0, 300.0, 800.0, ("20", "300", "800")),
    ],
)
def test_a_value_never_reads_as_the_end_of_its_range(name, value, low, high, texts):
    inside = dict.fromkeys(STATISTICS, 1.0)
    ranges = dict.fromkeys(STATISTICS, (1.0, 1.0)) | {name: (low, high)}
    (sentence,) = unusual(inside | {name: value}, ranges).values()
    shown = sentence.replace("; the training images have ", ": ").replace(" to ", ": ").split(": ")
    assert shown[1] not in shown[2:]
    assert set(texts) <= set(shown)
