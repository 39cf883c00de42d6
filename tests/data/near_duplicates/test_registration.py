"""Registered patterns correlate if one scene explains both, and count as strangers otherwise."""

import numpy as np
import pytest

from breastus.data.near_duplicates.registration import registered_correlation
from breastus.utils.opencv import cv2

WHOLE = ((0.0, 1.0), (0.0, 1.0))


def _pattern(seed=0, side=48):
    noise = np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 2.0)


def _seen_by(pattern, *, scale=1.0, degrees=0.0, shift=0.0):
    middle = (len(pattern) - 1) / 2
    affine = cv2.getRotationMatrix2D((middle, middle), degrees, scale)
    affine[:, 2] += shift
    return cv2.warpAffine(pattern, affine, pattern.shape, borderMode=cv2.BORDER_REFLECT)


@pytest.mark.parametrize(
    "move", [{"shift": 1.5}, {"scale": 1.08}, {"degrees": 3.0}, {"scale": 0.94, "shift": -1.0}]
)
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_scene_that_moved_a_little_correlates(move, mirrored):
    pattern = _pattern()
    image = pattern[:, ::-1] if mirrored else pattern
    found = registered_correlation(image, _seen_by(pattern, **move), WHOLE, mirrored=mirrored)
    assert 0.9 < found <= 1 + 1e-6


def test_a_part_is_registered_from_its_view():
    pattern = _pattern(side=96)
    whole, part = cv2.resize(pattern, (48, 48)), cv2.resize(pattern[:, 24:], (48, 48))
    assert registered_correlation(whole, part, ((0.25, 1.0), (0.0, 1.0)), mirrored=False) > 0.9


def test_too_much_rotation_is_not_one_scene():
    # Sine of the rotation: 0.19 and 0.24; the limit of shear is 0.2.
    pattern = _pattern(2)
    near = registered_correlation(pattern, _seen_by(pattern, degrees=11), WHOLE, mirrored=False)
    far = registered_correlation(pattern, _seen_by(pattern, degrees=14), WHOLE, mirrored=False)
    assert near > 0.9
    assert far == -1.0


def test_too_little_shared_area_is_not_one_scene():
    # The view starts where the shared part lies: 50 % and 30 % of the width; the limit is 40 %.
    pattern = _pattern(3)
    for shared, expected in ((0.5, 1.0), (0.3, -1.0)):
        moved = np.roll(pattern, -round(48 * (1 - shared)), axis=1)
        view = ((1 - shared, 2 - shared), (0.0, 1.0))
        found = registered_correlation(pattern, moved, view, mirrored=False)
        assert found == pytest.approx(expected, abs=0.02)


def test_flat_patterns_and_strangers_are_not_one_scene():
    flat = np.zeros((48, 48), np.float32)
    assert registered_correlation(flat, flat, WHOLE, mirrored=False) == -1.0
    assert registered_correlation(_pattern(), flat, WHOLE, mirrored=False) == -1.0
    scores = [
        registered_correlation(_pattern(0), _pattern(seed), WHOLE, mirrored=False)
        for seed in range(1, 9)
    ]
    assert max(scores) < 0.7
