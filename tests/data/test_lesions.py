"""Shares and counts of lesions from masks: black and white, coloured, several, of another size."""

import math

import numpy as np
import pytest

from breastus.data.images import to_png
from breastus.data.lesions import lesion_shares, measure_lesions
from breastus.data.sources.resolve import DataWarning
from breastus.errors import ImageError


@pytest.fixture
def mask(tmp_path):
    """A function (boxes, shape, colour) -> path of a mask; a box is top, bottom, left, right."""
    made = iter(range(99))

    def write(*boxes, shape=(100, 200), color=(255, 255, 255)):
        pixels = np.zeros((*shape, 3), np.uint8)
        for top, bottom, left, right in boxes:
            pixels[top:bottom, left:right] = color
        path = tmp_path / f"{next(made)}_mask.png"
        path.write_bytes(to_png(pixels))
        return path

    return write


def test_the_union_counts_once(mask):
    one = mask((0, 10, 0, 100))  # 1000 of 20000 pixels
    other = mask((5, 15, 0, 100))
    assert measure_lesions([one]) == (0.05, 1, 0)
    assert measure_lesions([one, other]) == (0.075, 2, 0)
    assert lesion_shares([one, other]) == 0.075


@pytest.mark.parametrize("color", [(0, 255, 0), (255, 0, 0), (1, 1, 1)])
def test_any_color_is_a_lesion(mask, color):
    assert measure_lesions([mask((0, 20, 0, 20), (60, 80, 0, 20), color=color)]) == (0.04, 2, 0)


def test_specks_are_no_lesions(mask):
    found = measure_lesions([mask((0, 20, 0, 20), (50, 51, 50, 51))])
    assert (found.share, found.count) == (401 / 20000, 1)


def test_masks_of_another_size_are_resized_and_said(mask):
    small = mask((0, 25, 0, 50), shape=(50, 100))
    with pytest.warns(DataWarning, match=r"resized to its image's 200 x 100 .* It has 100 x 50"):
        assert measure_lesions([small], size=(100, 200)) == (0.25, 1, 1)
    with pytest.warns(DataWarning):
        assert measure_lesions([mask((0, 10, 0, 100)), small]).share == pytest.approx(0.25)


def test_no_mask_is_unknown_and_an_empty_one_is_none(mask, tmp_path):
    nothing = measure_lesions([])
    assert math.isnan(nothing.share)
    assert nothing.count is None
    assert measure_lesions([mask()]) == (0.0, 0, 0)
    with pytest.raises(ImageError, match=r"lost_mask\.png"):
        measure_lesions([tmp_path / "lost_mask.png"])
