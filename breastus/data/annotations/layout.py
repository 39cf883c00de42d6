"""Boxes, panels and second views: an image in, whether straight lines of a device cross it out."""

import numpy as np

from breastus.utils.opencv import cv2

# A drawn line is brighter by so many grey levels than both pixels two away from it, all along.
_LINE = 8
_ACROSS, _DOWN = 0.3, 0.2  # least length, as a share of the image's width and height
# The seam between two views: pixels jump there in four of five rows, as nowhere else.
_MIDDLE = (0.25, 0.75)
# Times the usual step, over two columns and over six. At the seams of 600 pairs of phantoms steps
# are 2.0 and 1.17 times the usual at the least. In 780 images of one view those over two columns
# are 1.5 times at the most; one phantom in a hundred reaches 2.0 when brightened until it is white
# in places. The step over six is for drawn lines, across which it is about 0.8.
_JUMP, _FAR_JUMP = 2.0, 1.15
_ROWS = 0.2  # share of the rows that may have a smaller one
_BLACK, _GAP = 12, 0.97  # or a column is black from top to bottom
_LIT = 0.15  # share of pixels that are not black on either side
_PANEL = 0.004  # share of the image that one flat colour fills


def straight_lines(grey: np.ndarray) -> bool:
    """Whether a straight line runs across or down a good part of an image, as a box's sides do.

    Args:
        grey: uint8 [H, W].
    """
    height, width = grey.shape
    down, across = (grey[2:-2], grey[:-4], grey[4:]), (grey[:, 2:-2], grey[:, :-4], grey[:, 4:])
    return _has_line(*down, 1, int(_ACROSS * width)) or _has_line(*across, 0, int(_DOWN * height))


def _has_line(
    inner: np.ndarray, one: np.ndarray, other: np.ndarray, axis: int, length: int
) -> bool:
    """Whether so many pixels in a row along an axis are brighter than those on either side."""
    raised = cv2.min(cv2.subtract(inner, one), cv2.subtract(inner, other))
    drawn = cv2.threshold(raised, _LINE, 1, cv2.THRESH_BINARY)[1]
    # Few lines have so many such pixels at all; only they are looked through.
    counts = cv2.reduce(drawn, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
    lines = np.compress(counts >= length, drawn, axis=1 - axis)
    if not lines.size:
        return False
    lines = np.ascontiguousarray(lines if axis == 1 else lines.T)
    return bool(cv2.erode(lines, np.ones((1, length), np.uint8), borderValue=0).any())


def is_dual(grey: np.ndarray) -> bool:
    """Whether an image shows two views side by side.

    Args:
        grey: uint8 [H, W].
    """
    width = grey.shape[1]
    start, end = (int(share * width) for share in _MIDDLE)
    sides = grey[:, :start], grey[:, end:]
    if min(np.count_nonzero(side > 25) / side.size for side in sides) < _LIT:
        return False
    black = np.count_nonzero(grey[:, start:end] < _BLACK, axis=0) / len(grey)
    if black.max() >= _GAP:
        return True
    # Two columns apart, as a seam that was resized is two columns wide; and six, across which a
    # drawn line makes no difference, but another view does.
    near, far = _steps(grey, 1), _steps(grey, 3)
    seam = (near >= _JUMP * _usual(near)) & (far >= _FAR_JUMP * _usual(far))
    return bool(seam[start:end].any())


def _steps(grey: np.ndarray, reach: int) -> np.ndarray:
    """Return, for each column, the change across it that most rows have at least."""
    padded = cv2.copyMakeBorder(grey, 0, 0, reach, reach, cv2.BORDER_REPLICATE)
    steps = cv2.absdiff(padded[::2, 2 * reach :], padded[::2, : -2 * reach])
    # Rows are counted, level by level; to sort them takes seven times as long.
    most = len(steps) - int(_ROWS * len(steps))
    lowest = np.zeros(grey.shape[1])
    for level in range(255):
        larger = cv2.threshold(steps, level, 1, cv2.THRESH_BINARY)[1]
        reached = cv2.reduce(larger, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel() >= most
        if not reached.any():
            break
        lowest += reached
    return lowest


def _usual(steps: np.ndarray) -> float:
    # Not less than 2: where an image is dark or white all over, steps are of rounding.
    return max(float(np.median(steps)), 1.0) + 1.0


def panel(pixels: np.ndarray) -> tuple[int, int, int, int] | None:
    """Return (left, top, right, bottom) of a flat panel such as a body marker's, or None.

    Args:
        pixels: uint8 [H, W, 3], RGB.
    """
    # Every second row and column: a panel has plenty of both.
    rows = pixels[1::2]
    above = cv2.absdiff(rows, pixels[: 2 * len(rows) : 2])[:, 1:]
    beside = cv2.absdiff(rows[:, 1:], rows[:, :-1])
    still = cv2.inRange(cv2.max(above, beside), (0, 0, 0), (0, 0, 0))
    middling = cv2.inRange(rows[:, 1:], (0, 41, 0), (255, 249, 255))  # by its green
    flat = np.ascontiguousarray(cv2.bitwise_and(still, middling)[:, ::2])
    if np.count_nonzero(flat) < _PANEL * flat.size:  # as in most images; parts take long to find
        return None
    _, _, boxes, _ = cv2.connectedComponentsWithStats(flat, connectivity=4)
    left, top, width, height, area = boxes[1:][boxes[1:, cv2.CC_STAT_AREA].argmax()]
    if area < _PANEL * flat.size or area < 0.3 * width * height:
        return None
    margin = 8  # its frame is shaded
    return (
        max(0, 2 * int(left) - margin),
        max(0, 2 * int(top) - margin),
        2 * int(left + width) + margin,
        2 * int(top + height) + margin,
    )
