"""The layout of a device's screen: an image in, its boxes, panels and second views out."""

import numpy as np

from breastus.utils.opencv import cv2

# The side of a box is a straight line. Grey levels by which it exceeds both pixels two away
# from it, and its least length as a fraction of the image's width and height. The removal of
# annotations uses these too.
LINE_CONTRAST = 8
LINE_ACROSS, LINE_DOWN = 0.3, 0.2
_MIDDLE = (0.25, 0.75)  # fractions of the width between which the seam of two views lies
# At the seam of two views, pixels jump in four of five rows. Least jump over two columns and over
# six, in multiples of the image's usual step. At the seams of 600 pairs of phantoms the jumps are
# at least 2.0 and 1.17. In 780 images of one view those over two columns are at most 1.5; one
# phantom in a hundred reaches 2.0 when brightened until it is white in places. The second is for
# drawn lines, across which the jump over six columns is about 0.8.
_JUMP, _FAR_JUMP = 2.0, 1.15
_ROWS = 0.2  # fraction of the rows that may have a smaller jump
_BLACK, _GAP = 12, 0.97  # or a column is black from top to bottom
_LIT = 0.15  # fraction of pixels that are not black on either side
_PANEL = 0.004  # fraction of the image that one flat colour fills
_PANEL_MARGIN = 8  # pixels: the frame of a panel is shaded


def has_straight_line(grey: np.ndarray) -> bool:
    """Return whether a straight line runs across or down much of an image, uint8 [H, W]."""
    height, width = grey.shape
    across, down = int(LINE_ACROSS * width), int(LINE_DOWN * height)
    return _has_line(grey[2:-2], grey[:-4], grey[4:], 1, across) or _has_line(
        grey[:, 2:-2], grey[:, :-4], grey[:, 4:], 0, down
    )


def _has_line(
    inner: np.ndarray, one: np.ndarray, other: np.ndarray, axis: int, length: int
) -> bool:
    """Return whether `length` pixels in a row along an axis are brighter than both sides."""
    raised = cv2.min(cv2.subtract(inner, one), cv2.subtract(inner, other))
    drawn = cv2.threshold(raised, LINE_CONTRAST, 1, cv2.THRESH_BINARY)[1]
    # Few lines have enough such pixels; only those are searched.
    counts = cv2.reduce(drawn, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
    lines = np.compress(counts >= length, drawn, axis=1 - axis)
    if not lines.size:
        return False
    lines = np.ascontiguousarray(lines if axis == 1 else lines.T)
    return bool(cv2.erode(lines, np.ones((1, length), np.uint8), borderValue=0).any())


def is_dual_view(grey: np.ndarray) -> bool:
    """Return whether an image, uint8 [H, W], shows two views side by side."""
    width = grey.shape[1]
    start, end = (int(share * width) for share in _MIDDLE)
    sides = grey[:, :start], grey[:, end:]
    if min(np.count_nonzero(side > 25) / side.size for side in sides) < _LIT:
        return False
    black = np.count_nonzero(grey[:, start:end] < _BLACK, axis=0) / len(grey)
    if black.max() >= _GAP:
        return True
    # Over two columns, since the seam of a resized image is two columns wide; and over six, across
    # which a drawn line makes no difference, but another view does.
    near, far = _steps(grey, 1), _steps(grey, 3)
    seam = (near >= _JUMP * _usual(near)) & (far >= _FAR_JUMP * _usual(far))
    return bool(seam[start:end].any())


def _steps(grey: np.ndarray, reach: int) -> np.ndarray:
    """Return, for each column, the change across it that most rows have at least."""
    padded = cv2.copyMakeBorder(grey, 0, 0, reach, reach, cv2.BORDER_REPLICATE)
    steps = cv2.absdiff(padded[::2, 2 * reach :], padded[::2, : -2 * reach])
    # Rows are counted level by level: sorting takes seven times as long.
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
    # At least 2: in an image that is dark or white all over, steps come from rounding.
    return max(float(np.median(steps)), 1.0) + 1.0


def find_panel(pixels: np.ndarray) -> tuple[int, int, int, int] | None:
    """Return (left, top, right, bottom) of a flat panel such as a body marker's, or None.

    `pixels` are uint8 [H, W, 3], RGB.
    """
    # Every second row and column is enough for a panel.
    rows = pixels[1::2]
    above = cv2.absdiff(rows, pixels[: 2 * len(rows) : 2])[:, 1:]
    beside = cv2.absdiff(rows[:, 1:], rows[:, :-1])
    still = cv2.inRange(cv2.max(above, beside), (0, 0, 0), (0, 0, 0))
    middling = cv2.inRange(rows[:, 1:], (0, 41, 0), (255, 249, 255))  # by its green
    flat = np.ascontiguousarray(cv2.bitwise_and(still, middling)[:, ::2])
    if np.count_nonzero(flat) < _PANEL * flat.size:  # most images; labelling parts takes long
        return None
    _, _, boxes, _ = cv2.connectedComponentsWithStats(flat, connectivity=4)
    left, top, width, height, area = boxes[1:][boxes[1:, cv2.CC_STAT_AREA].argmax()]
    if area < _PANEL * flat.size or area < 0.3 * width * height:
        return None
    return (
        max(0, 2 * int(left) - _PANEL_MARGIN),
        max(0, 2 * int(top) - _PANEL_MARGIN),
        2 * int(left + width) + _PANEL_MARGIN,
        2 * int(top + height) + _PANEL_MARGIN,
    )
