"""Masks that are black and white, coloured, several, and of another size than their image."""

import math

import numpy as np
import pytest

from breastus.data.images import to_png
from breastus.data.masks import lesion_area_fraction, lesion_mask
from breastus.errors import ImageError

SIZE = 100, 200


@pytest.fixture
def mask(tmp_path):
    """A function (boxes, shape, colour) -> path of a mask; a box is top, bottom, left, right."""
    made = iter(range(99))

    def write(*boxes, shape=SIZE, color=(255, 255, 255)):
        pixels = np.zeros((*shape, 3), np.uint8)
        for top, bottom, left, right in boxes:
            pixels[top:bottom, left:right] = color
        path = tmp_path / f"{next(made)}_mask.png"
        path.write_bytes(to_png(pixels))
        return path

    return write


def test_a_pixel_of_two_masks_counts_once(mask):
    one = mask((0, 10, 0, 100))  # 1000 of 20000 pixels
    other = mask((5, 15, 0, 100))
    assert lesion_area_fraction([one], SIZE) == 0.05
    assert lesion_area_fraction([one, other], SIZE) == 0.075
    union = lesion_mask([one, other], SIZE)
    assert union.dtype == np.uint8
    assert (union[:15, :100] == 255).all()
    assert not union[15:].any()


@pytest.mark.parametrize("color", [(0, 255, 0), (255, 0, 0), (0, 0, 255), (0, 0, 1), (1, 1, 1)])
def test_any_color_is_a_lesion(mask, color):
    path = mask((0, 20, 0, 20), (60, 80, 0, 20), color=color)
    assert lesion_area_fraction([path], SIZE) == 0.04


def test_masks_of_another_size_are_resized(mask):
    small = mask((0, 25, 0, 50), shape=(50, 100))
    assert lesion_area_fraction([small], SIZE) == 0.25
    assert lesion_area_fraction([mask((0, 10, 0, 100)), small], SIZE) == pytest.approx(0.25)


def test_without_a_mask_the_area_is_unknown(mask, tmp_path):
    assert math.isnan(lesion_area_fraction([], SIZE))
    assert lesion_area_fraction([mask()], SIZE) == 0.0
    with pytest.raises(ImageError, match=r"lost_mask\.png"):
        lesion_area_fraction([tmp_path / "lost_mask.png"], SIZE)
