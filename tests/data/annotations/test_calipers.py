"""Calipers are found as devices draw them; speckle and letters are not flagged."""

import numpy as np
import pytest
from drawing import jpeg, phantom_scan, plus, slanted

from breastus.data.annotations.calipers import has_crosses

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


def test_plain_tissue_has_no_crosses(dark):
    assert not any(has_crosses(scan[..., 0]) for scan in dark)


def test_a_single_line_is_no_cross(dark):
    drawn = dark[0][..., 0].copy()
    drawn[200:202, 100:200] = 225
    drawn[240:300, 260:262] = 225
    assert not has_crosses(drawn)


def test_crosses_within_text_do_not_count(dark):
    drawn = plus(dark[0], PLACES[:1])[..., 0]
    assert has_crosses(drawn)
    assert not has_crosses(drawn, except_in=[(130, 180, 170, 220)])
    assert has_crosses(drawn, except_in=[(300, 180, 340, 220)])


def _uneven(grey):
    """Speckle's brightness: the marks vary by 30 levels along their arms."""
    ripple = 15 * (np.indices(grey.shape[:2]).sum(axis=0) % 4 == 0) * 2
    return np.where(grey == 95, 95 + ripple[..., None], grey).astype(np.uint8)[..., 0]


def test_one_faint_cross_may_be_speckle_two_are_calipers():
    grey = np.full((200, 240, 3), 60, np.uint8)
    assert not has_crosses(_uneven(plus(grey, [(60, 60)], color=95)))
    assert has_crosses(_uneven(plus(grey, [(60, 60), (150, 120)], color=95)))


@pytest.mark.parametrize("draw", [plus, slanted])
@pytest.mark.parametrize("change", [lambda x: x, jpeg])
def test_a_faint_cross_of_one_brightness_is_a_caliper(draw, change):
    grey = np.full((200, 240, 3), 60, np.uint8)
    assert has_crosses(change(draw(grey, [(60, 60)], color=95))[..., 0])
    assert not has_crosses(change(draw(grey, [(60, 60)], color=75))[..., 0])


@pytest.mark.parametrize("index", [12, 13, 71])
def test_calipers_on_bright_tissue(index):
    drawn = plus(phantom_scan(12, index), PLACES)
    assert has_crosses(drawn[..., 0])
    assert has_crosses(jpeg(drawn)[..., 0])


def test_clipped_echoes_are_no_calipers():
    grey = np.full((200, 240, 3), 222, np.uint8)
    assert has_crosses(plus(grey, [(60, 60)], color=248)[..., 0])
    assert not has_crosses(plus(grey, [(60, 60)], color=255)[..., 0])
