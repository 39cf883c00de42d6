"""Calipers: a grey image in, whether measuring crosses stand on it out.

A drawn cross is as bright along both its arms as nothing beside them, and of one brightness.
Speckle and tissue borders are bright along one line at the most, and fade.
"""

from collections.abc import Sequence

import numpy as np

from breastus.utils.opencv import cv2

_ARM = 5  # pixels from the middle of an upright cross to the least end of its arms; BUSI's have 7
_DIAGONAL = 4  # likewise of a slanted one, in pixels to the right
_BESIDE = 4  # pixels from the middle to where no cross is; arms are up to 3 pixels thick
# Grey levels by which the darkest pixel of the arms is brighter than the brightest place beside
# them. BUSI's calipers have 60 and more, its normal images stay below 20.
_ONE, _TWO = 45, 25  # of a cross that stands alone, and of the lesser of two
# Of a cross of one brightness. On bright tissue a caliper stands out no more than the best of
# speckle does, 25 to 45 levels, but it is flat: its arms vary by 16 levels at most after a JPEG;
# speckle that varies by up to 20 stands out by at most 20 in 3,000 images of 600 phantoms, and by
# 11 in two hospitals' unmarked images.
_FLAT, _EVEN = 22, 20
_CLIPPED = 250  # echoes beyond the highest level are flat too
_ALONG, _SLOPE = np.arange(-_ARM, _ARM + 1), np.arange(-_DIAGONAL, _DIAGONAL + 1)
# Rows and columns of the arms' pixels, from the middle.
_UPRIGHT_ARMS = np.array([[*(0 * _ALONG), *_ALONG], [*_ALONG, *(0 * _ALONG)]])
_SLANTED_ARMS = np.array([[*_SLOPE, *_SLOPE], [*_SLOPE, *-_SLOPE]])


def has_crosses(grey: np.ndarray, *, except_in: Sequence[tuple[int, int, int, int]] = ()) -> bool:
    """Whether calipers stand on an image.

    Args:
        grey: uint8 [H, W].
        except_in: boxes (left, top, right, bottom) of text, whose strokes cross too.
    """
    for contrast, arms in ((_upright(grey), _UPRIGHT_ARMS), (_slanted(grey), _SLANTED_ARMS)):
        for left, top, right, bottom in except_in:
            contrast[top:bottom, left:right] = 0
        highest = contrast.max()
        if highest >= _ONE or (highest >= _FLAT and _even(grey, arms, contrast >= _FLAT)):
            return True
        if highest >= _TWO and min(_highest(contrast), _highest(contrast)) >= _TWO:
            return True
    return False


def _even(grey: np.ndarray, arms: np.ndarray, middles: np.ndarray) -> bool:
    """Whether a cross with its middle at one of the places is of one brightness all along."""
    rows, columns = np.nonzero(middles)
    along = grey[rows[:, None] + arms[0], columns[:, None] + arms[1]]
    lowest, highest = along.min(axis=1), along.max(axis=1)
    return bool(((highest - lowest <= _EVEN) & (highest < _CLIPPED)).any())


def _upright(grey: np.ndarray) -> np.ndarray:
    line = np.ones((1, 2 * _ARM + 1), np.uint8)
    places = [(-_BESIDE, -_BESIDE), (-_BESIDE, _BESIDE), (_BESIDE, -_BESIDE), (_BESIDE, _BESIDE)]
    return _contrast(grey, line, line.T, places)


def _slanted(grey: np.ndarray) -> np.ndarray:
    line = np.eye(2 * _DIAGONAL + 1, dtype=np.uint8)
    places = [(-_BESIDE, 0), (_BESIDE, 0), (0, -_BESIDE), (0, _BESIDE)]
    return _contrast(grey, line, np.ascontiguousarray(line[::-1]), places)


def _contrast(grey: np.ndarray, one: np.ndarray, other: np.ndarray, places) -> np.ndarray:
    """Return how much brighter two crossing lines are than places beside them, at least 0."""
    arms = cv2.min(cv2.erode(grey, one, borderValue=0), cv2.erode(grey, other, borderValue=0))
    soft = np.pad(cv2.blur(grey, (3, 3)), _BESIDE, mode="edge")
    height, width = grey.shape
    beside = np.zeros_like(grey)
    for down, right in places:
        moved = soft[_BESIDE + down :, _BESIDE + right :][:height, :width]
        beside = cv2.max(beside, np.ascontiguousarray(moved))
    return cv2.subtract(arms, beside)  # saturates at 0


def _highest(contrast: np.ndarray) -> int:
    """Return the largest value, and take its surroundings out."""
    _, value, _, (x, y) = cv2.minMaxLoc(contrast)
    reach = 2 * _ARM
    contrast[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = 0
    return int(value)
