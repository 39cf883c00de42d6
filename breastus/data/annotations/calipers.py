"""Calipers: a grey image in, true out if measuring crosses are drawn on it.

Both arms of a drawn cross are brighter than everything beside them, and of one brightness. Speckle
and tissue borders are bright along one line at most, and fade.
"""

from collections.abc import Sequence

import numpy as np

from breastus.utils.opencv import cv2

_ARM = 5  # pixels from the centre of an upright cross to the least end of its arms; BUSI's have 7
_DIAGONAL = 4  # the same for a slanted one, in pixels to the right
_BESIDE = 4  # pixels from the centre to where no cross is; arms are up to 3 pixels thick
# Grey levels by which the darkest pixel of the arms exceeds the brightest place beside them.
# BUSI's calipers have 60 and more, its normal images stay below 20.
_SINGLE, _PAIR = 45, 25  # for a cross that stands alone, and for the fainter one of two
# On bright tissue a caliper exceeds its surroundings by 25 to 45 levels, as the brightest speckle
# does, but its arms vary by 16 levels at most after a JPEG. Speckle that varies by up to 20 levels
# exceeds its surroundings by at most 20 in 3,000 images of 600 phantoms, and by 11 in the unmarked
# images of two hospitals.
_UNIFORM_CONTRAST, _UNIFORM_SPREAD = 22, 20
_CLIPPED = 250  # echoes beyond the highest level are uniform too
_ALONG, _SLOPE = np.arange(-_ARM, _ARM + 1), np.arange(-_DIAGONAL, _DIAGONAL + 1)
# Rows and columns of the pixels of the arms, relative to the centre.
_UPRIGHT_ARMS = np.array([[*(0 * _ALONG), *_ALONG], [*_ALONG, *(0 * _ALONG)]])
_SLANTED_ARMS = np.array([[*_SLOPE, *_SLOPE], [*_SLOPE, *-_SLOPE]])


def has_crosses(grey: np.ndarray, *, except_in: Sequence[tuple[int, int, int, int]] = ()) -> bool:
    """Return whether calipers are drawn on an image, uint8 [H, W].

    `except_in` are boxes (left, top, right, bottom) of text, whose strokes cross too.
    """
    for contrast, arms in ((_upright(grey), _UPRIGHT_ARMS), (_slanted(grey), _SLANTED_ARMS)):
        for left, top, right, bottom in except_in:
            contrast[top:bottom, left:right] = 0
        highest = contrast.max()
        if highest >= _SINGLE:
            return True
        if highest >= _UNIFORM_CONTRAST and _any_uniform(grey, arms, contrast >= _UNIFORM_CONTRAST):
            return True
        if highest >= _PAIR and min(_pop_maximum(contrast), _pop_maximum(contrast)) >= _PAIR:
            return True
    return False


def _any_uniform(grey: np.ndarray, arms: np.ndarray, centres: np.ndarray) -> bool:
    """Return whether a cross around one of the centres is of one brightness along its arms."""
    rows, columns = np.nonzero(centres)
    along = grey[rows[:, None] + arms[0], columns[:, None] + arms[1]]
    lowest, highest = along.min(axis=1), along.max(axis=1)
    return bool(((highest - lowest <= _UNIFORM_SPREAD) & (highest < _CLIPPED)).any())


def _upright(grey: np.ndarray) -> np.ndarray:
    line = np.ones((1, 2 * _ARM + 1), np.uint8)
    places = [(-_BESIDE, -_BESIDE), (-_BESIDE, _BESIDE), (_BESIDE, -_BESIDE), (_BESIDE, _BESIDE)]
    return _contrast(grey, line, line.T, places)


def _slanted(grey: np.ndarray) -> np.ndarray:
    line = np.eye(2 * _DIAGONAL + 1, dtype=np.uint8)
    places = [(-_BESIDE, 0), (_BESIDE, 0), (0, -_BESIDE), (0, _BESIDE)]
    return _contrast(grey, line, np.ascontiguousarray(line[::-1]), places)


def _contrast(grey: np.ndarray, one: np.ndarray, other: np.ndarray, places) -> np.ndarray:
    """Return how much two crossing lines exceed the places beside them, uint8 [H, W]."""
    arms = cv2.min(cv2.erode(grey, one, borderValue=0), cv2.erode(grey, other, borderValue=0))
    smooth = np.pad(cv2.blur(grey, (3, 3)), _BESIDE, mode="edge")
    height, width = grey.shape
    beside = np.zeros_like(grey)
    for down, right in places:
        moved = smooth[_BESIDE + down :, _BESIDE + right :][:height, :width]
        beside = cv2.max(beside, np.ascontiguousarray(moved))
    return cv2.subtract(arms, beside)  # saturates at 0


def _pop_maximum(contrast: np.ndarray) -> int:
    """Return the largest value, and set its surroundings to 0."""
    _, value, _, (x, y) = cv2.minMaxLoc(contrast)
    reach = 2 * _ARM
    contrast[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = 0
    return int(value)
