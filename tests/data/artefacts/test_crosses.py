"""Calipers are found as devices draw them; speckle and letters are none."""

import numpy as np
import pytest

from breastus.data.artefacts.crosses import has_crosses
from experiments.drawing import phantom_scan, plus, slanted

PLACES = [(150, 200), (300, 260)]


@pytest.fixture(scope="module")
def dark():
    """Tissue whose brightest echoes leave a caliper something to stand out from."""
    return [phantom_scan(2, index) // 2 for index in range(4)]


@pytest.mark.parametrize("arm", [5, 7, 9])
@pytest.mark.parametrize("thickness", [2, 3])
def test_upright_crosses(dark, arm, thickness):
    for scan in dark:
        drawn = plus(scan, PLACES, arm=arm, thickness=thickness)[..., 0]
        assert has_crosses(drawn)


@pytest.mark.parametrize("thickness", [2, 3])
def test_slanted_crosses(dark, thickness):
    for scan in dark:
        assert has_crosses(slanted(scan, PLACES, thickness=thickness)[..., 0])


def test_not_on_plain_tissue(dark):
    assert not any(has_crosses(scan[..., 0]) for scan in dark)


def test_one_line_is_no_cross(dark):
    drawn = dark[0][..., 0].copy()
    drawn[200:202, 100:200] = 225
    drawn[240:300, 260:262] = 225
    assert not has_crosses(drawn)


def test_not_within_text(dark):
    drawn = plus(dark[0], PLACES[:1])[..., 0]
    assert has_crosses(drawn)
    assert not has_crosses(drawn, except_in=[(130, 180, 170, 220)])
    assert has_crosses(drawn, except_in=[(300, 180, 340, 220)])


def test_one_faint_cross_may_be_speckle_two_are_calipers():
    grey = np.full((200, 240, 3), 60, np.uint8)
    assert not has_crosses(plus(grey, [(60, 60)], color=95)[..., 0])
    assert has_crosses(plus(grey, [(60, 60), (150, 120)], color=95)[..., 0])
